// The C API of TensorFlow Lite, and the delegates that its pods bring.
#import <TensorFlowLiteC/TensorFlowLiteC.h>
#if __has_include(<TensorFlowLiteCMetal/TensorFlowLiteCMetal.h>)
#import <TensorFlowLiteCMetal/TensorFlowLiteCMetal.h>
#endif
#if __has_include(<TensorFlowLiteCCoreML/TensorFlowLiteCCoreML.h>)
#import <TensorFlowLiteCCoreML/TensorFlowLiteCCoreML.h>
#endif
