// The few declarations of TensorFlow Lite's C API that Delegation.c uses, with the names and types of its common.h.
#ifndef FAKE_TENSORFLOWLITEC_H_
#define FAKE_TENSORFLOWLITEC_H_

#include <stdint.h>

typedef enum { kTfLiteOk = 0, kTfLiteError = 1 } TfLiteStatus;
enum { kTfLiteDelegateFlagsAllowDynamicTensors = 1 };

typedef struct {
  int size;
  int data[];
} TfLiteIntArray;

typedef struct TfLiteContext TfLiteContext;
typedef struct TfLiteDelegate TfLiteDelegate;
typedef struct {
  int32_t builtin_code;
} TfLiteRegistration;
typedef struct {
  TfLiteDelegate* delegate;
} TfLiteNode;

struct TfLiteContext {
  TfLiteStatus (*GetExecutionPlan)(TfLiteContext* context, TfLiteIntArray** execution_plan);
  TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext* context, int index, TfLiteNode** node,
                                         TfLiteRegistration** registration);
};

struct TfLiteDelegate {
  void* data_;
  TfLiteStatus (*Prepare)(TfLiteContext* context, TfLiteDelegate* delegate);
  int64_t flags;
};

#endif  // FAKE_TENSORFLOWLITEC_H_
