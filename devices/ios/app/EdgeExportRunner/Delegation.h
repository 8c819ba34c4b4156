// Counts which operators a delegate took: by a delegate of our own that takes none and looks at the graph.
//
// The C API does not list a graph's operators, and the runtime's own line about it is not printed by release builds.
// A delegate is shown the execution plan when it is applied, in the order of TfLiteInterpreterOptionsAddDelegate:
// one observer before the delegate in question counts all operators, one behind it those that are left.
#ifndef EDGE_EXPORT_DELEGATION_H_
#define EDGE_EXPORT_DELEGATION_H_

#include <TensorFlowLiteC/TensorFlowLiteC.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define kEdgeExportMaxCodes 256

typedef struct {
  bool seen;           // whether a graph was shown at all
  bool known;          // whether its plan could be read
  int32_t operators;   // nodes that no delegate has taken
  int32_t partitions;  // nodes that stand for what a delegate took
  int32_t codes[kEdgeExportMaxCodes];  // builtin codes of the first operators counted
} EdgeExportCount;

// A delegate that fills `count` when it is applied; `count` must live as long as the interpreter.
TfLiteDelegate* EdgeExportObserverCreate(EdgeExportCount* count);

void EdgeExportObserverDelete(TfLiteDelegate* delegate);

#ifdef __cplusplus
}
#endif

#endif  // EDGE_EXPORT_DELEGATION_H_
