/* Runs a .tflite model through libLiteRt.so's C API, where there is no Python: `native plan.txt`.
 *
 * The plan is lines of `key value`; tensors' names are in hex, for a name may hold anything. Inputs are in inputs.bin, raw,
 * sample by sample, each sample's tensors in the order of the plan's `input` lines. It leaves result.txt, and outputs.bin
 * (in the order of its `output` lines) or samples.bin (doubles, ns per inference), each under its name only when whole.
 * The timing rules are those of job.py: first inference, warm-up to steady state, samples of at least min_sample_us.
 * Prototypes of the C API: litert/c/*.h of LiteRT 2.x (Apache-2.0); loaded by name, so no header and no SDK is needed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

typedef int Status;
typedef void *Handle;
typedef size_t Index;
typedef struct { unsigned rank : 7, has_strides : 1; int32_t dims[8]; uint32_t strides[8]; } Layout;
typedef struct { int element; Layout layout; } TensorType;
_Static_assert(sizeof(TensorType) == 72, "as in litert_layout.h");

#define API(X) \
  X(LiteRtCreateEnvironment, (int, const void *, Handle *)) \
  X(LiteRtCreateModelFromFile, (Handle, const char *, Handle *)) \
  X(LiteRtCreateOptions, (Handle *)) \
  X(LiteRtSetOptionsHardwareAccelerators, (Handle, int)) \
  X(LiteRtAddOpaqueOptions, (Handle, Handle)) \
  X(LiteRtCreateOpaqueOptions, (const char *, void *, void (*)(void *), Handle *)) \
  X(LiteRtCreateCompiledModel, (Handle, Handle, Handle, Handle *)) \
  X(LiteRtGetNumModelSignatures, (Handle, Index *)) \
  X(LiteRtGetModelSignature, (Handle, Index, Handle *)) \
  X(LiteRtGetSignatureKey, (Handle, const char **)) \
  X(LiteRtGetNumSignatureInputs, (Handle, Index *)) \
  X(LiteRtGetNumSignatureOutputs, (Handle, Index *)) \
  X(LiteRtGetSignatureInputName, (Handle, Index, const char **)) \
  X(LiteRtGetSignatureOutputName, (Handle, Index, const char **)) \
  X(LiteRtGetSignatureInputTensorByIndex, (Handle, Index, Handle *)) \
  X(LiteRtGetSignatureOutputTensorByIndex, (Handle, Index, Handle *)) \
  X(LiteRtGetRankedTensorType, (Handle, TensorType *)) \
  X(LiteRtGetCompiledModelInputBufferRequirements, (Handle, Index, Index, Handle *)) \
  X(LiteRtGetCompiledModelOutputBufferRequirements, (Handle, Index, Index, Handle *)) \
  X(LiteRtGetCompiledModelInputTensorLayout, (Handle, Index, Index, Layout *)) \
  X(LiteRtGetCompiledModelOutputTensorLayouts, (Handle, Index, size_t, Layout *, bool)) \
  X(LiteRtCreateManagedTensorBufferFromRequirements, (Handle, const TensorType *, Handle, Handle *)) \
  X(LiteRtGetTensorBufferPackedSize, (Handle, size_t *)) \
  X(LiteRtLockTensorBuffer, (Handle, void **, int)) \
  X(LiteRtUnlockTensorBuffer, (Handle)) \
  X(LiteRtRunCompiledModel, (Handle, Index, size_t, Handle *, size_t, Handle *))
#define DECLARE(name, arguments) static Status(*p##name) arguments;
API(DECLARE)

static const char *at = "start";

static void stage(const char *name) {
  at = name;
  FILE *f = fopen("stage", "w");
  if (f) { fputs(name, f); fclose(f); }
}

static void finish(const char *part, const char *name, FILE *f) {
  if (fclose(f) || rename(part, name)) { perror(name); exit(6); }
}

/* kind: input (a bad model or arrays), missing (no library) or device */
static void fail(const char *kind, const char *format, ...) {
  char message[900];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  for (char *c = message; *c; c++) if (*c == '\n' || *c == '\r') *c = ' ';
  fprintf(stderr, "%s\n", message);
  FILE *f = fopen("result.part", "w");
  if (!f) { perror("result.txt"); exit(6); }
  fprintf(f, "status failed\nkind %s\nstage %s\nmessage %s\n", kind, at, message);
  finish("result.part", "result.txt", f);
  exit(1);
}

#define CHECK(call) do { Status s_ = (call); \
  if (s_) fail("device", "%.60s: status %d", &(#call)[1], s_); } while (0)

static double now(void) { /* ns of a clock that nobody sets */
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

/* ---- the plan ---- */
#define MOST 64
static char *text, *keys[4096], *values[4096];
static int entries;

static void read_plan(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) { perror(path); exit(5); }
  fseek(f, 0, SEEK_END);
  long size = ftell(f);
  rewind(f);
  text = calloc(1, size + 1);
  if (fread(text, 1, size, f) != (size_t)size) { perror(path); exit(5); }
  fclose(f);
  for (char *line = strtok(text, "\n"); line && entries < 4096; line = strtok(NULL, "\n")) {
    char *space = strchr(line, ' ');
    keys[entries] = line;
    values[entries++] = space ? (*space = 0, space + 1) : "";
  }
}
static const char *value(const char *key, const char *fallback) {
  for (int i = 0; i < entries; i++) if (!strcmp(keys[i], key)) return values[i];
  return fallback;
}
static double number(const char *key) { return atof(value(key, "0")); }

static void hex(const char *name, char *out, size_t most) {
  size_t n = 0;
  for (; *name && n + 3 < most; name++) n += sprintf(out + n, "%02x", (unsigned char)*name);
  out[n] = 0;
}

/* ---- the model ---- */
static Handle compiled, inputs[MOST], outputs[MOST];
static Index which, n_inputs, n_outputs, order[MOST];
static size_t in_size[MOST], out_size[MOST], sample_size;
static char out_name[MOST][2048];
static unsigned char *data;
static size_t samples_given;
static bool reading;

static void *library(const char *path) {
  void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!so) fail("missing", "the runtime does not load: %s", dlerror());
#define LOAD(name, arguments) \
  if (!(p##name = (Status(*) arguments)dlsym(so, #name))) fail("missing", "the runtime has no " #name);
  API(LOAD)
  return so;
}

static Handle buffer(Handle environment, Handle tensor, Handle requirements, const Layout *layout) {
  TensorType type;
  Handle made;
  CHECK(pLiteRtGetRankedTensorType(tensor, &type));
  type.layout = *layout;
  CHECK(pLiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &made));
  return made;
}

static void load(void) {
  Handle environment, model, options, opaque, signature = NULL;
  CHECK(pLiteRtCreateEnvironment(0, NULL, &environment));
  Status s = pLiteRtCreateModelFromFile(environment, value("model", ""), &model);
  if (s) fail("input", "LiteRT does not load the model: status %d", s);
  CHECK(pLiteRtCreateOptions(&options));
  CHECK(pLiteRtSetOptionsHardwareAccelerators(options, (int)number("accelerators")));
  char toml[128];
  int n = snprintf(toml, sizeof toml, "num_threads = %d\n", (int)number("threads"));
  if (!strcmp(value("xnnpack", "on"), "off")) snprintf(toml + n, sizeof toml - n, "kernel_mode = \"builtin\"\n");
  CHECK(pLiteRtCreateOpaqueOptions("xnnpack", strdup(toml), free, &opaque));
  CHECK(pLiteRtAddOpaqueOptions(options, opaque));
  if (!strcmp(value("job", ""), "profile")) {
    CHECK(pLiteRtCreateOpaqueOptions("runtime_options_string", strdup("enable_profiling = true\n"), free, &opaque));
    CHECK(pLiteRtAddOpaqueOptions(options, opaque));
  }
  CHECK(pLiteRtCreateCompiledModel(environment, model, options, &compiled));
  Index count;
  CHECK(pLiteRtGetNumModelSignatures(model, &count));
  const char *wanted = value("signature", NULL);
  for (which = 0; which < count; which++) {
    const char *key;
    char coded[2048];
    CHECK(pLiteRtGetModelSignature(model, which, &signature));
    CHECK(pLiteRtGetSignatureKey(signature, &key));
    hex(key, coded, sizeof coded);
    if (!wanted || !strcmp(coded, wanted)) break;
  }
  if (which == count) fail("input", "the model has no such signature");
  CHECK(pLiteRtGetNumSignatureInputs(signature, &n_inputs));
  CHECK(pLiteRtGetNumSignatureOutputs(signature, &n_outputs));
  if (n_inputs > MOST || n_outputs > MOST) fail("input", "more than %d inputs or outputs", MOST);
  stage("allocate");
  Layout layouts[MOST];
  memset(layouts, 0, sizeof layouts);
  for (Index i = 0; i < n_inputs; i++) {
    Handle tensor, requirements;
    Layout layout;
    CHECK(pLiteRtGetSignatureInputTensorByIndex(signature, i, &tensor));
    CHECK(pLiteRtGetCompiledModelInputTensorLayout(compiled, which, i, &layout));
    CHECK(pLiteRtGetCompiledModelInputBufferRequirements(compiled, which, i, &requirements));
    inputs[i] = buffer(environment, tensor, requirements, &layout);
    CHECK(pLiteRtGetTensorBufferPackedSize(inputs[i], &in_size[i]));
    sample_size += in_size[i];
  }
  CHECK(pLiteRtGetCompiledModelOutputTensorLayouts(compiled, which, n_outputs, layouts, true));
  for (Index i = 0; i < n_outputs; i++) {
    Handle tensor, requirements;
    const char *name;
    CHECK(pLiteRtGetSignatureOutputTensorByIndex(signature, i, &tensor));
    CHECK(pLiteRtGetCompiledModelOutputBufferRequirements(compiled, which, i, &requirements));
    outputs[i] = buffer(environment, tensor, requirements, &layouts[i]);
    CHECK(pLiteRtGetTensorBufferPackedSize(outputs[i], &out_size[i]));
    CHECK(pLiteRtGetSignatureOutputName(signature, i, &name));
    hex(name, out_name[i], sizeof out_name[i]);
  }
  Index given = 0;
  for (int e = 0; e < entries; e++) if (!strcmp(keys[e], "input")) {
    Index i = 0;
    for (; i < n_inputs; i++) {
      const char *name;
      char coded[2048];
      CHECK(pLiteRtGetSignatureInputName(signature, i, &name));
      hex(name, coded, sizeof coded);
      if (!strcmp(coded, values[e])) break;
    }
    if (i == n_inputs || given == n_inputs) fail("input", "an input that the model does not have");
    order[given++] = i;
  }
  if (given != n_inputs) fail("input", "the model takes %zu inputs, %zu are given", n_inputs, given);
}

static void read_inputs(void) {
  FILE *f = fopen("inputs.bin", "rb");
  if (!f) fail("input", "inputs.bin is not there");
  fseek(f, 0, SEEK_END);
  size_t size = ftell(f);
  rewind(f);
  if (!sample_size || !size || size % sample_size)
    fail("input", "%zu bytes of inputs, a sample takes %zu", size, sample_size);
  data = malloc(size);
  if (!data || fread(data, 1, size, f) != size) fail("device", "inputs.bin cannot be read");
  fclose(f);
  samples_given = size / sample_size;
}

static void feed(size_t sample) {
  unsigned char *from = data + sample * sample_size;
  for (Index k = 0; k < n_inputs; k++) {
    void *to;
    CHECK(pLiteRtLockTensorBuffer(inputs[order[k]], &to, 1));
    memcpy(to, from, in_size[order[k]]);
    CHECK(pLiteRtUnlockTensorBuffer(inputs[order[k]]));
    from += in_size[order[k]];
  }
}

static void invoke(void) {
  CHECK(pLiteRtRunCompiledModel(compiled, which, n_inputs, inputs, n_outputs, outputs));
  if (reading) for (Index i = 0; i < n_outputs; i++) { /* to run alone only hands the work to a GPU */
    void *from;
    CHECK(pLiteRtLockTensorBuffer(outputs[i], &from, 0));
    CHECK(pLiteRtUnlockTensorBuffer(outputs[i]));
  }
}

/* ---- the jobs ---- */
static size_t rotation;
static double sample(long k) {
  feed(rotation++ % samples_given);
  double began = now();
  for (long i = 0; i < k; i++) invoke();
  return now() - began;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static double median(const double *from, size_t n) {
  double *copy = malloc(n * sizeof *copy);
  memcpy(copy, from, n * sizeof *copy);
  qsort(copy, n, sizeof *copy, by_size);
  double found = n % 2 ? copy[n / 2] : (copy[n / 2 - 1] + copy[n / 2]) / 2;
  free(copy);
  return found;
}

typedef struct { double *at; size_t n, room; } List;
static void add(List *list, double v) {
  if (list->n == list->room) {
    list->room = list->room ? 2 * list->room : 1024;
    list->at = realloc(list->at, list->room * sizeof *list->at);
    if (!list->at) fail("device", "out of memory for samples");
  }
  list->at[list->n++] = v;
}
static long calls(double floor_ns, double each) { return fmax(1, ceil(floor_ns / fmax(1, each))); }

static void measure(FILE *result) {
  stage("first inference");
  double first = sample(1);
  stage("warm-up");
  double floor_ns = number("min_sample_us") * 1e3, began = now(), seconds = 0;
  size_t window = number("warmup_window");
  long k = 1, count = 0;
  bool steady = false;
  List seen = {0}, samples = {0};
  while (true) {
    add(&seen, sample(k) / k);
    count += k;
    seconds = (now() - began) / 1e9;
    if (k == 1 && seen.n == 5 && median(seen.at, 5) < floor_ns) { k = calls(floor_ns, median(seen.at, 5)); seen.n = 0; }
    if (seen.n >= 2 * window) {
      double last = median(seen.at + seen.n - window, window), before = median(seen.at + seen.n - 2 * window, window);
      steady = fabs(last - before) <= number("warmup_tolerance") * before;
    } else steady = false;
    bool enough = seconds >= number("warmup_min_seconds") && count >= number("warmup_min_inferences");
    if ((enough && steady) || seconds >= number("warmup_max_seconds")) break;
  }
  if (seen.n) { size_t n = seen.n < window ? seen.n : window; k = calls(floor_ns, median(seen.at + seen.n - n, n)); }
  stage("measure");
  began = now();
  do {
    add(&samples, sample(k));
    seconds = (now() - began) / 1e9;
  } while (!((samples.n >= number("min_samples") && seconds >= number("min_seconds")) || seconds >= number("max_seconds")));
  stage("doubling");
  double one = INFINITY, two = INFINITY;
  double pairs = fmax(1, fmin(9, floor(0.1 * number("min_seconds") * 1e9 / (3 * median(samples.at, samples.n)))));
  for (int i = 0; i < pairs; i++) { one = fmin(one, sample(k)); two = fmin(two, sample(2 * k)); }
  stage("write");
  FILE *f = fopen("samples.part", "wb");
  if (!f) fail("device", "samples.bin cannot be written");
  for (size_t i = 0; i < samples.n; i++) samples.at[i] /= k;
  if (fwrite(samples.at, sizeof *samples.at, samples.n, f) != samples.n) fail("device", "the disk is full");
  finish("samples.part", "samples.bin", f);
  fprintf(result, "first_ns %.0f\nwarmup_inferences %ld\nwarmup_steady %d\nbatch_k %ld\ndoubling_ratio %.9g\n", first, count,
          steady, k, two / one);
}

static void answer(FILE *result) {
  stage("infer");
  double seconds = 0;
  FILE *f = fopen("outputs.part", "wb");
  if (!f) fail("device", "outputs.bin cannot be written");
  for (size_t s = 0; s < samples_given; s++) {
    feed(s);
    double began = now();
    CHECK(pLiteRtRunCompiledModel(compiled, which, n_inputs, inputs, n_outputs, outputs));
    seconds += (now() - began) / 1e9;
    for (Index i = 0; i < n_outputs; i++) {
      void *from;
      CHECK(pLiteRtLockTensorBuffer(outputs[i], &from, 0));
      if (fwrite(from, 1, out_size[i], f) != out_size[i]) fail("device", "the disk is full");
      CHECK(pLiteRtUnlockTensorBuffer(outputs[i]));
    }
  }
  stage("write");
  finish("outputs.part", "outputs.bin", f);
  fprintf(result, "seconds %.9g\n", seconds);
}

/* Which operator takes how long, delegates' own included; LiteRT tells it as a table. */
static void profile(void *so, FILE *result) {
  stage("profile");
  Status (*of)(Handle, Handle *) = (Status(*)(Handle, Handle *))dlsym(so, "LiteRtCompiledModelGetProfiler");
  Status (*start)(Handle) = (Status(*)(Handle))dlsym(so, "LiteRtStartProfiler");
  Status (*stop)(Handle) = (Status(*)(Handle))dlsym(so, "LiteRtStopProfiler");
  Status (*tell)(Handle, Handle, const char **) =
      (Status(*)(Handle, Handle, const char **))dlsym(so, "LiteRtGetProfileSummary");
  if (!of || !start || !stop || !tell) fail("device", "this release of the runtime has no profiler");
  Handle profiler;
  const char *table = NULL;
  if (of(compiled, &profiler) || !profiler) fail("device", "the runtime gives no profiler");
  for (int i = 0; i < 20; i++) { feed(rotation++ % samples_given); invoke(); }
  long runs = 0;
  double began = now();
  if (start(profiler)) fail("device", "the profiler does not start");
  /* The profiler keeps a limited number of events: what would not fit is not run. */
  for (; runs < number("profile_runs") && now() - began < 5e9; runs++) { feed(rotation++ % samples_given); invoke(); }
  if (stop(profiler) || tell(profiler, compiled, &table) || !table) fail("device", "the profiler tells nothing");
  FILE *f = fopen("profile.part", "w");
  if (!f || fputs(table, f) < 0) fail("device", "profile.txt cannot be written");
  finish("profile.part", "profile.txt", f);
  fprintf(result, "profiled %ld\n", runs);
}

static long peak_kb(void) {
  char line[256];
  long kb = 0;
  FILE *f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f)) if (!strncmp(line, "VmHWM:", 6)) kb = atol(line + 6);
  if (f) fclose(f);
  return kb;
}

int main(int argc, char **argv) {
  if (argc != 2) { fprintf(stderr, "usage: native plan.txt\n"); return 2; }
  read_plan(argv[1]);
  if (number("die_with_parent")) prctl(PR_SET_PDEATHSIG, SIGKILL);
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (int e = 0; e < entries; e++) if (!strcmp(keys[e], "core")) CPU_SET(atoi(values[e]), &cores);
  if (CPU_COUNT(&cores) && sched_setaffinity(0, sizeof cores, &cores)) fail("device", "these cores cannot be had");
  reading = (int)number("accelerators") != 1;
  stage("load");
  void *so = library(value("library", "libLiteRt.so"));
  long before = peak_kb();
  double began = now();
  load();
  double init = now() - began;
  read_inputs();
  FILE *result = fopen("result.part", "w");
  if (!result) { perror("result.txt"); return 6; }
  fprintf(result, "status done\ninit_ns %.0f\nmemory_before_kb %ld\n", init, before);
  const char *job = value("job", "");
  if (!strcmp(job, "time")) measure(result);
  else if (!strcmp(job, "profile")) profile(so, result);
  else answer(result);
  for (Index i = 0; i < n_outputs; i++) fprintf(result, "output %zu %s\n", out_size[i], out_name[i]);
  fprintf(result, "memory_kb %ld\nend 1\n", peak_kb());
  finish("result.part", "result.txt", result);
  return 0;
}
