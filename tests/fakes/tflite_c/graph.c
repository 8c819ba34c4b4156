// A graph to show to the observer: its nodes are builtin codes, -1 for one that stands for a delegate's partition.
#include <stdlib.h>
#include <string.h>

#include "../../../devices/ios/app/EdgeExportRunner/Delegation.h"

static const int32_t* nodes;
static int node_count;
static int broken_node;
static TfLiteDelegate taker;

static TfLiteStatus GetPlan(TfLiteContext* context, TfLiteIntArray** plan) {
  (void)context;
  static TfLiteIntArray* made;
  free(made);
  made = malloc(sizeof(TfLiteIntArray) + sizeof(int) * (size_t)(node_count + 1));
  made->size = node_count;
  // Backwards, and so is GetNode: positions in the plan are not the nodes' own indices.
  for (int i = 0; i < node_count; i++) made->data[i] = node_count - 1 - i;
  *plan = made;
  return kTfLiteOk;
}

static TfLiteStatus GetNode(TfLiteContext* context, int index, TfLiteNode** node, TfLiteRegistration** registration) {
  (void)context;
  static TfLiteNode shown;
  static TfLiteRegistration registered;
  int position = node_count - 1 - index;
  if (position == broken_node) return kTfLiteError;
  shown.delegate = nodes[position] == -1 ? &taker : NULL;
  registered.builtin_code = nodes[position];
  *node = &shown;
  *registration = &registered;
  return kTfLiteOk;
}

void count_graph(const int32_t* given, int count, int graphs, int broken, int32_t* found) {
  EdgeExportCount counted;
  TfLiteContext context = {GetPlan, GetNode};
  TfLiteDelegate* delegate = EdgeExportObserverCreate(&counted);
  nodes = given;
  node_count = count;
  broken_node = broken;
  for (int graph = 0; graph < graphs; graph++) {
    // Further graphs are sound: they must not be counted in, nor make up for the first.
    if (graph == 1) broken_node = -1;
    if (delegate->Prepare(&context, delegate) != kTfLiteOk) counted.known = false;
  }
  EdgeExportObserverDelete(delegate);
  found[0] = counted.known;
  found[1] = counted.operators;
  found[2] = counted.partitions;
  memcpy(found + 3, counted.codes, sizeof(counted.codes));
}
