/* Squares of the event fractions of a frame's windows, scale after scale: see fractions.py.
 *
 * Counts in windows of twice the side are sums of four, made in place. Where all windows of a block
 * are whole, the squares are summed as whole numbers, exactly; else in float64, window by window.
 */
#include "../../core/system/native.h"

#define WIDEST 32 /* side of the windows that are joined to the widest ones */
#define PIECE 512
#define BLOCK 112 /* windows; so many squares of at most 64 * 64 fit into 31 bits */

/* row[x] = row[x] + below[x] + row[x + side] + below[x + side], for x below `count`. */
FOR_EVERY_PROCESSOR
static void join(int16_t *restrict row, const int16_t *restrict below, int64_t count, int64_t side)
{
    int16_t tall[PIECE + WIDEST];
    for (int64_t first = 0; first < count; first += PIECE) {
        int64_t piece = count - first < PIECE ? count - first : PIECE;
        for (int64_t x = 0; x < piece + side; x++)
            tall[x] = row[first + x] + below[first + x];
        for (int64_t x = 0; x < piece; x++)
            row[first + x] = tall[x] + tall[x + side];
    }
}

/* How many of a block's windows have a valid pixel, and in `*whole` how many have only such. */
FOR_EVERY_PROCESSOR
static int seen(const int16_t *restrict valid, int count, int16_t area, int *whole)
{
    int some = 0, all = 0;
    for (int x = 0; x < count; x++) {
        some += valid[x] > 0;
        all += valid[x] == area;
    }
    *whole = all;
    return some;
}

FOR_EVERY_PROCESSOR
static int32_t squares(const int16_t *restrict one, int count)
{
    int32_t sum = 0;
    for (int x = 0; x < count; x++)
        sum += (int32_t)one[x] * one[x];
    return sum;
}

FOR_EVERY_PROCESSOR
static int32_t squares_apart(const int16_t *restrict one, const int16_t *restrict other, int count)
{
    int16_t apart[BLOCK];
    for (int x = 0; x < count; x++)
        apart[x] = one[x] - other[x];
    return squares(apart, count);
}

/* Adds the sums of weight * (f - o)^2 and weight * (f^2 + o^2). */
static void weighted(const int16_t *restrict warned, const int16_t *restrict events,
                     const double *restrict weights, int count, double *sums)
{
    double apart = 0, either = 0;
    for (int x = 0; x < count; x++) {
        double f = warned[x], o = events[x];
        apart += weights[x] * ((f - o) * (f - o));
        either += weights[x] * (f * f + o * o);
    }
    sums[0] += apart;
    sums[1] += either;
}

typedef struct {
    int16_t *counts; /* valid pixels, and of each threshold forecast and true events */
    int64_t maps, height, width, row, map; /* row, map: distances of rows and maps */
} Frame;

static void doubled(Frame *frame, int64_t side)
{
    frame->height -= side;
    frame->width -= side;
    for (int64_t map = 0; map < frame->maps; map++)
        for (int64_t y = 0; y < frame->height; y++) {
            int16_t *row = frame->counts + map * frame->map + y * frame->row;
            join(row, row + side * frame->row, frame->width, side);
        }
}

/* Adds a scale's sums: of each threshold at every second place of `sums`, difference and reference. */
static int64_t summed(const Frame *frame, int16_t area, double *sums, int64_t *whole_sums)
{
    int64_t windows = 0, thresholds = frame->maps / 2;
    double weights[BLOCK];
    for (int64_t y = 0; y < frame->height; y++)
        for (int64_t x = 0; x < frame->width; x += BLOCK) {
            const int16_t *valid = frame->counts + y * frame->row + x;
            int count = frame->width - x < BLOCK ? (int)(frame->width - x) : BLOCK, whole;
            int some = seen(valid, count, area, &whole);
            windows += some;
            if (!some)
                continue;
            for (int j = 0; whole < count && j < count; j++)
                weights[j] = valid[j] > 0 ? 1.0 / ((double)valid[j] * valid[j]) : 0.0;
            for (int64_t k = 0; k < thresholds; k++) {
                const int16_t *warned = valid + (1 + 2 * k) * frame->map;
                const int16_t *events = warned + frame->map;
                if (whole < count) {
                    weighted(warned, events, weights, count, sums + 2 * k);
                    continue;
                }
                whole_sums[2 * k] += squares_apart(warned, events, count);
                whole_sums[2 * k + 1] += (int64_t)squares(warned, count) + squares(events, count);
            }
        }
    return windows;
}

static PyObject *windows(PyObject *self, PyObject *args)
{
    PyObject *of[3];
    Tensor counts, sums, inside;
    if (!PyArg_ParseTuple(args, "OOO", &of[0], &of[1], &of[2])
        || read_tensor(of[0], "counts", KIND_INT16, &counts)
        || read_tensor(of[1], "sums", KIND_FLOAT64, &sums)
        || read_tensor(of[2], "inside", KIND_INT64, &inside)
        || expect(counts.ndim == 3 && counts.shape[0] % 2, "counts: expected valid pixels and of "
                  "each threshold two maps")
        || expect(!counts.count || (counts.strides[0] == counts.shape[1] * counts.shape[2]
                  && counts.strides[1] == counts.shape[2]), "counts: expected row-major order")
        || expect(inside.count <= 7, "inside: expected at most 7 scales, up to 64 pixels")
        || expect_count(&sums, inside.count * (counts.shape[0] - 1)))
        return NULL;
    Frame frame = {counts.data, counts.shape[0], counts.shape[1], counts.shape[2],
                   counts.shape[2], counts.shape[1] * counts.shape[2]};
    int64_t each = frame.maps - 1, side = 1;
    int64_t *whole_sums = PyMem_Calloc(each + 1, sizeof *whole_sums);
    if (!whole_sums)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    for (int64_t scale = 0; scale < inside.count; scale++, side *= 2) {
        if (scale)
            doubled(&frame, side / 2);
        if (frame.height <= 0 || frame.width <= 0)
            break;
        double *of_scale = (double *)sums.data + scale * each, area = (double)side * side;
        memset(whole_sums, 0, each * sizeof *whole_sums);
        ((int64_t *)inside.data)[scale] += summed(&frame, (int16_t)(side * side), of_scale, whole_sums);
        for (int64_t k = 0; k < each; k++)
            of_scale[k] += (double)whole_sums[k] / (area * area);
    }
    Py_END_ALLOW_THREADS
    PyMem_Free(whole_sums);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"windows", windows, METH_VARARGS, "Add the sums of a frame's windows; overwrites the counts."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fractions", NULL, 0, methods};

PyMODINIT_FUNC PyInit__fractions(void)
{
    return find_dlpack() ? NULL : PyModule_Create(&module);
}
