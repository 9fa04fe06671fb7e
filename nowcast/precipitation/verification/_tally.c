/* Counts of events and sums of errors of forecast frames in one pass: see tally.py.
 *
 * A frame is taken a chunk at a time, small enough for the first cache. The loops are plain for the
 * compiler to vectorise, and on x86 Linux it does so for every kind of processor, chosen when it is
 * loaded. Chunks begin at a frame, so a frame adds the same bits in whatever batch it comes.
 */
#include "../../core/system/native.h"
#include <math.h>

#define CHUNK 2048    /* pixels; a multiple of both kinds of lanes, at most 255 BYTE_LANES */
#define BYTE_LANES 64
#define DOUBLE_LANES 16
#define THRESHOLDS 5  /* the loops are written out for five: a loop over them is not vectorised */

typedef struct {
    _Alignas(64) float error[CHUNK]; /* 0 where masked */
    _Alignas(64) float weight[CHUNK];
    _Alignas(64) uint8_t valid[CHUNK];
    _Alignas(64) uint8_t predicted[CHUNK]; /* classes, 0 where masked */
    _Alignas(64) uint8_t observed[CHUNK];
    _Alignas(64) uint8_t both[CHUNK];
} Chunk;

/* How many thresholds the truth reaches, 0 where masked, and the weight of that rain rate. */
FOR_EVERY_PROCESSOR
static void look(Chunk *restrict chunk, const float *restrict truth, int count,
                 const float *restrict at, const float *restrict rise)
{
    float t0 = at[0], t1 = at[1], t2 = at[2], t3 = at[3], t4 = at[4];
    float dry = rise[0], r0 = rise[1], r1 = rise[2], r2 = rise[3], r3 = rise[4], r4 = rise[5];
    for (int j = 0; j < count; j++) {
        float x = truth[j];
        chunk->observed[j] = (x >= t0) + (x >= t1) + (x >= t2) + (x >= t3) + (x >= t4);
        chunk->weight[j] = dry + (x >= t0 ? r0 : 0.0f) + (x >= t1 ? r1 : 0.0f) +
                           (x >= t2 ? r2 : 0.0f) + (x >= t3 ? r3 : 0.0f) + (x >= t4 ? r4 : 0.0f);
    }
    for (int j = 0; j < count; j++)
        chunk->observed[j] = chunk->valid[j] ? chunk->observed[j] : 0;
}

/* How many thresholds the prediction reaches and its absolute error, both 0 where masked. */
FOR_EVERY_PROCESSOR
static void compare(Chunk *restrict chunk, const float *restrict prediction,
                    const float *restrict truth, int count, const float *restrict at)
{
    float t0 = at[0], t1 = at[1], t2 = at[2], t3 = at[3], t4 = at[4];
    for (int j = 0; j < count; j++) {
        float x = prediction[j];
        chunk->predicted[j] = (x >= t0) + (x >= t1) + (x >= t2) + (x >= t3) + (x >= t4);
        x = x < 0 ? 0 : x; /* NaN stays NaN */
        x = x > 1 ? 1 : x;
        chunk->error[j] = fabsf(x - truth[j]);
    }
    for (int j = 0; j < count; j++)
        chunk->predicted[j] = chunk->valid[j] ? chunk->predicted[j] : 0;
    for (int j = 0; j < count; j++)
        chunk->error[j] = chunk->valid[j] ? chunk->error[j] : 0;
}

FOR_EVERY_PROCESSOR
static void lesser(uint8_t *restrict least, const uint8_t *restrict one,
                   const uint8_t *restrict other, int count)
{
    for (int j = 0; j < count; j++)
        least[j] = one[j] < other[j] ? one[j] : other[j];
}

/* How many of the first `count` bytes, a multiple of BYTE_LANES, are above `floor`. */
FOR_EVERY_PROCESSOR
static int64_t above(const uint8_t *restrict bytes, int count, uint8_t floor)
{
    uint8_t lanes[BYTE_LANES] = {0};
    for (int j = 0; j < count; j += BYTE_LANES)
        for (int lane = 0; lane < BYTE_LANES; lane++)
            lanes[lane] += bytes[j + lane] > floor;
    int64_t total = 0;
    for (int lane = 0; lane < BYTE_LANES; lane++)
        total += lanes[lane];
    return total;
}

/* Adds the sums of |e|, e^2, w |e| and w e^2 over `count`, a multiple of DOUBLE_LANES. */
FOR_EVERY_PROCESSOR
static void add(double *sums, const float *restrict error, const float *restrict weight, int count)
{
    double a[DOUBLE_LANES] = {0}, s[DOUBLE_LANES] = {0};
    double wa[DOUBLE_LANES] = {0}, ws[DOUBLE_LANES] = {0};
    for (int j = 0; j < count; j += DOUBLE_LANES)
        for (int lane = 0; lane < DOUBLE_LANES; lane++) {
            double e = error[j + lane], we = e * weight[j + lane];
            a[lane] += e;
            s[lane] += e * e;
            wa[lane] += we;
            ws[lane] += we * e;
        }
    for (int lane = 0; lane < DOUBLE_LANES; lane++) {
        sums[0] += a[lane];
        sums[1] += s[lane];
        sums[2] += wa[lane];
        sums[3] += ws[lane];
    }
}

static void tally_frame(const float *prediction, const float *truth, const uint8_t *mask,
                        int64_t pixels, const float *at, const float *rise, int64_t *counts,
                        double *sums)
{
    Chunk chunk;
    for (int64_t first = 0; first < pixels; first += CHUNK) {
        int count = pixels - first < CHUNK ? (int)(pixels - first) : CHUNK;
        int filled = (count + BYTE_LANES - 1) / BYTE_LANES * BYTE_LANES;
        memcpy(chunk.valid, mask + first, count);
        look(&chunk, truth + first, count, at, rise);
        compare(&chunk, prediction + first, truth + first, count, at);
        lesser(chunk.both, chunk.predicted, chunk.observed, count);
        for (int j = count; j < filled; j++) {
            chunk.error[j] = chunk.weight[j] = 0;
            chunk.valid[j] = chunk.predicted[j] = chunk.observed[j] = chunk.both[j] = 0;
        }
        add(sums, chunk.error, chunk.weight, filled);
        for (int k = 0; k < THRESHOLDS; k++) {
            int64_t observed = above(chunk.observed, filled, k);
            int64_t predicted = above(chunk.predicted, filled, k);
            if (!observed && !predicted)
                break; /* nor do higher thresholds have an event */
            if (observed && predicted)
                counts[k] += above(chunk.both, filled, k);
            counts[THRESHOLDS + k] += observed;
            counts[2 * THRESHOLDS + k] += predicted;
        }
        counts[3 * THRESHOLDS] += above(chunk.valid, filled, 0);
    }
}

static int in_order(const Tensor *frames, const Tensor *as)
{
    int64_t step = frames->count;
    int holds = frames->ndim == as->ndim;
    for (int64_t axis = 0; holds && step && axis < frames->ndim; axis++) {
        step /= frames->shape[axis];
        holds = frames->shape[axis] == as->shape[axis]
                && (frames->shape[axis] == 1 || frames->strides[axis] == step);
    }
    if (!holds)
        PyErr_Format(PyExc_ValueError, "%s: expected the shape of %s, in row-major order",
                     frames->name, as->name);
    return holds ? 0 : -1;
}

static PyObject *tally(PyObject *self, PyObject *args)
{
    PyObject *of[7];
    Tensor prediction, truth, mask, thresholds, rises, counts, errors;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &of[0], &of[1], &of[2], &of[3], &of[4], &of[5], &of[6])
        || read_tensor(of[0], "prediction", KIND_FLOAT32, &prediction)
        || read_tensor(of[1], "truth", KIND_FLOAT32, &truth)
        || read_tensor(of[2], "mask", KIND_BOOL, &mask)
        || read_tensor(of[3], "thresholds", KIND_FLOAT32, &thresholds)
        || read_tensor(of[4], "rises", KIND_FLOAT32, &rises)
        || read_tensor(of[5], "counts", KIND_INT64, &counts)
        || read_tensor(of[6], "errors", KIND_FLOAT64, &errors)
        || expect(truth.ndim >= 2, "truth: expected clips, lead times and pixels")
        || in_order(&truth, &truth) || in_order(&prediction, &truth) || in_order(&mask, &truth)
        || expect_count(&thresholds, THRESHOLDS) || expect_count(&rises, THRESHOLDS + 1)
        || expect_count(&counts, truth.shape[1] * (3 * THRESHOLDS + 1))
        || expect_count(&errors, truth.shape[1] * 4))
        return NULL;
    int64_t leads = truth.shape[1], frames = truth.shape[0] * leads;
    int64_t pixels = frames ? truth.count / frames : 0;
    double *sums = errors.data;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t frame = 0; frame < frames; frame++) {
        double of_frame[4] = {0};
        int64_t first = frame * pixels, lead = frame % leads;
        tally_frame((const float *)prediction.data + first, (const float *)truth.data + first,
                    (const uint8_t *)mask.data + first, pixels, thresholds.data, rises.data,
                    (int64_t *)counts.data + lead * (3 * THRESHOLDS + 1), of_frame);
        for (int k = 0; k < 4; k++)
            sums[4 * lead + k] += of_frame[k];
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"tally", tally, METH_VARARGS, "Add the counts and sums of contiguous clips."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_tally", NULL, 0, methods};

PyMODINIT_FUNC PyInit__tally(void)
{
    return find_dlpack() ? NULL : PyModule_Create(&module);
}
