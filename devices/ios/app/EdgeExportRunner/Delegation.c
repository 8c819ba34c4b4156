#include "Delegation.h"

#include <stdlib.h>
#include <string.h>

// Never fails: what cannot be counted stays unknown, and the interpreter is built all the same.
static TfLiteStatus CountNodes(TfLiteContext* context, TfLiteDelegate* delegate) {
  EdgeExportCount* count = (EdgeExportCount*)delegate->data_;
  TfLiteIntArray* plan = NULL;
  // Later calls are for further subgraphs (bodies of loops and branches); the first is the graph that is run.
  if (count->seen) return kTfLiteOk;
  count->seen = true;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk || plan == NULL) return kTfLiteOk;
  for (int i = 0; i < plan->size; i++) {
    TfLiteNode* node = NULL;
    TfLiteRegistration* registration = NULL;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != kTfLiteOk) {
      count->operators = 0;
      count->partitions = 0;
      return kTfLiteOk;
    }
    if (node->delegate != NULL) {
      count->partitions++;
    } else {
      if (count->operators < kEdgeExportMaxCodes) count->codes[count->operators] = registration->builtin_code;
      count->operators++;
    }
  }
  count->known = true;
  return kTfLiteOk;
}

TfLiteDelegate* EdgeExportObserverCreate(EdgeExportCount* count) {
  TfLiteDelegate* delegate = (TfLiteDelegate*)calloc(1, sizeof(TfLiteDelegate));
  if (delegate == NULL) return NULL;
  memset(count, 0, sizeof(*count));
  delegate->data_ = count;
  delegate->Prepare = CountNodes;
  // It changes no tensor, so graphs with dynamic ones must not be refused because of it.
  delegate->flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return delegate;
}

void EdgeExportObserverDelete(TfLiteDelegate* delegate) { free(delegate); }
