/* The loop anyone would write in C on libLiteRt.so: load, warm up for half a second, then for half a second loops of 2 ms.
 * cc -O2 -o bare_loop bare_loop.c -ldl && ./bare_loop libLiteRt.so MODEL.tflite : prints the median, in us an inference.
 * Shared with the native runner is nothing but the C API's prototypes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <stdbool.h>

typedef void *H;
typedef struct { unsigned rank : 7, has_strides : 1; int32_t dims[8]; uint32_t strides[8]; } Layout;
typedef struct { int element; Layout layout; } Type;

static void *so;
#define CALL(name, ...) do { int (*f_)() = (int (*)())dlsym(so, #name); int s_ = f_ ? f_(__VA_ARGS__) : -1; \
  if (s_) { fprintf(stderr, #name ": %d\n", s_); exit(1); } } while (0)

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static int by_size(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return (x > y) - (x < y); }

int main(int argc, char **argv) {
  if (argc != 3 || !(so = dlopen(argv[1], RTLD_NOW))) { fprintf(stderr, "usage: bare_loop libLiteRt.so MODEL\n"); return 2; }
  H env, model, options, opaque, compiled, signature, in[16], out[16];
  CALL(LiteRtCreateEnvironment, 0, NULL, &env);
  CALL(LiteRtCreateModelFromFile, env, argv[2], &model);
  CALL(LiteRtCreateOptions, &options);
  CALL(LiteRtSetOptionsHardwareAccelerators, options, 1);
  CALL(LiteRtCreateOpaqueOptions, "xnnpack", strdup("num_threads = 1\n"), free, &opaque);
  CALL(LiteRtAddOpaqueOptions, options, opaque);
  CALL(LiteRtCreateCompiledModel, env, model, options, &compiled);
  CALL(LiteRtGetModelSignature, model, (size_t)0, &signature);
  size_t ni, no, size;
  CALL(LiteRtGetNumSignatureInputs, signature, &ni);
  CALL(LiteRtGetNumSignatureOutputs, signature, &no);
  Layout layouts[16];
  memset(layouts, 0, sizeof layouts);
  for (size_t i = 0; i < ni; i++) {
    H tensor, requirements; Type type; void *p;
    CALL(LiteRtGetSignatureInputTensorByIndex, signature, i, &tensor);
    CALL(LiteRtGetRankedTensorType, tensor, &type);
    CALL(LiteRtGetCompiledModelInputTensorLayout, compiled, (size_t)0, i, &type.layout);
    CALL(LiteRtGetCompiledModelInputBufferRequirements, compiled, (size_t)0, i, &requirements);
    CALL(LiteRtCreateManagedTensorBufferFromRequirements, env, &type, requirements, &in[i]);
    CALL(LiteRtGetTensorBufferPackedSize, in[i], &size);
    CALL(LiteRtLockTensorBuffer, in[i], &p, 1);
    memset(p, 0, size);
    CALL(LiteRtUnlockTensorBuffer, in[i]);
  }
  CALL(LiteRtGetCompiledModelOutputTensorLayouts, compiled, (size_t)0, no, layouts, true);
  for (size_t i = 0; i < no; i++) {
    H tensor, requirements; Type type;
    CALL(LiteRtGetSignatureOutputTensorByIndex, signature, i, &tensor);
    CALL(LiteRtGetRankedTensorType, tensor, &type);
    type.layout = layouts[i];
    CALL(LiteRtGetCompiledModelOutputBufferRequirements, compiled, (size_t)0, i, &requirements);
    CALL(LiteRtCreateManagedTensorBufferFromRequirements, env, &type, requirements, &out[i]);
  }
  int (*run)(H, size_t, size_t, H *, size_t, H *) = (int (*)(H, size_t, size_t, H *, size_t, H *))dlsym(so, "LiteRtRunCompiledModel");
  double began = now(), took, found[1024];
  long k = 1, n = 0;
  for (long i = 0; (took = now() - began) < 0.5e9; i++) { if (run(compiled, 0, ni, in, no, out)) return 1; k = i + 1; }
  k = k * 2e6 / took < 1 ? 1 : (long)(k * 2e6 / took);
  for (double start = now(); now() - start < 0.5e9 && n < 1024; n++) {
    began = now();
    for (long i = 0; i < k; i++) run(compiled, 0, ni, in, no, out);
    found[n] = (now() - began) / k / 1e3;
  }
  qsort(found, n, sizeof *found, by_size);
  printf("%.6f\n", found[n / 2]);
  return 0;
}
