// What Swift sees of the C in this app. The TensorFlow Lite frameworks are imported as modules.
#include "Delegation.h"
