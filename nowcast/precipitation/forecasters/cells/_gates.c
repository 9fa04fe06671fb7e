/* The gates of a convolutional GRU on a CPU, in one pass each way: see recurrence.py.
 *
 * Values lie with the channels innermost, a row of them for each place of each frame; a row of x or
 * h has three parts: update, reset, candidate. Only what goes into or comes out of a convolution
 * may be bfloat16 (x, h, their gradients, and `carried`, which is made of h alone): states, gates
 * and candidates stay float from step to step, since each rounding adds to the error. The loops
 * are plain for the compiler to vectorise, and on x86 Linux it does so for every kind of processor,
 * chosen when it is loaded.
 */
#include "../../../core/system/native.h"

#define PARTS 3 /* of a row of x or h: update, reset, candidate */

/* Which of the values that went through a leaky ReLU were positive. */
enum { X_UPDATE = 1, H_UPDATE = 2, X_RESET = 4, H_RESET = 8, X_NEW = 16, H_NEW = 32, NEW = 64 };

typedef struct {
    const void *x, *h;                 /* rows of three parts */
    int64_t x_step, h_step;            /* from one row to the next; 0 where there is one for all */
    float *update, *candidate;         /* out; rows of one part */
    float *reset;                      /* out, for the way back */
    void *carried;                     /* out, likewise: the activated h_h, in the dtype of h */
    uint8_t *signs;                    /* out, likewise; NULL if there is no way back */
    int64_t rows, channels;
    float slope, leak;                 /* of the activation of x and h (1: none); of the candidate */
} Open;

typedef struct {
    const float *update_gradient, *candidate_gradient, *update, *reset;
    const void *carried;
    const uint8_t *signs;
    void *x_gradient, *h_gradient;     /* out; rows of three parts */
    int64_t rows, channels;
    float slope, leak;
} Close;

INLINE float load(const void *from, int64_t i, int is_bf16)
{
    return is_bf16 ? from_bf16(((const uint16_t *)from)[i]) : ((const float *)from)[i];
}

INLINE void store(void *to, int64_t i, float value, int is_bf16)
{
    if (is_bf16)
        ((uint16_t *)to)[i] = to_bf16(value);
    else
        ((float *)to)[i] = value;
}

/* e^x for |x| <= 87, to two units in the last place: 2^n times a polynomial on |r| <= ln 2 / 2. */
INLINE float exponential(float x)
{
    const float to_whole = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    float n = (x * 1.44269504f + to_whole) - to_whole;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts */
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

INLINE float sigmoid(float x)
{
    float bounded = x > 87.0f ? 87.0f : x; /* so that NaN stays */
    bounded = bounded < -87.0f ? -87.0f : bounded;
    return 1.0f / (1.0f + exponential(-bounded));
}

INLINE float leaky(float x, float slope)
{
    return x > 0 ? x : slope * x;
}

INLINE void open_rows(const Open *restrict gate, int x_is_bf16, int h_is_bf16, int way_back)
{
    int64_t channels = gate->channels;
    float slope = gate->slope, leak = gate->leak;
    size_t x_width = x_is_bf16 ? 2 : 4, h_width = h_is_bf16 ? 2 : 4;
    for (int64_t row = 0; row < gate->rows; row++) {
        int64_t at = row * channels, kept = way_back ? at : 0;
        const char *restrict x = (const char *)gate->x + row * gate->x_step * x_width;
        const char *restrict h = (const char *)gate->h + row * gate->h_step * h_width;
        const char *x_r = x + channels * x_width, *h_r = h + channels * h_width;
        const char *x_h = x_r + channels * x_width, *h_h = h_r + channels * h_width;
        float *restrict update = gate->update + at, *restrict candidate = gate->candidate + at;
        float *restrict reset = gate->reset + kept;
        char *restrict carried = (char *)gate->carried + kept * h_width;
        uint8_t *restrict signs = gate->signs + kept;
#pragma GCC ivdep
        for (int64_t j = 0; j < channels; j++) {
            float xz = load(x, j, x_is_bf16), hz = load(h, j, h_is_bf16);
            float xr = load(x_r, j, x_is_bf16), hr = load(h_r, j, h_is_bf16);
            float xh = load(x_h, j, x_is_bf16), hh = load(h_h, j, h_is_bf16);
            float u = sigmoid(leaky(xz, slope) + leaky(hz, slope));
            float r = sigmoid(leaky(xr, slope) + leaky(hr, slope));
            float from_past = leaky(hh, slope);
            float new = leaky(xh, slope) + r * from_past;
            update[j] = u;
            candidate[j] = leaky(new, leak);
            if (way_back) {
                reset[j] = r;
                store(carried, j, from_past, h_is_bf16);
                signs[j] = (uint8_t)((xz > 0 ? X_UPDATE : 0) | (hz > 0 ? H_UPDATE : 0) |
                                     (xr > 0 ? X_RESET : 0) | (hr > 0 ? H_RESET : 0) |
                                     (xh > 0 ? X_NEW : 0) | (hh > 0 ? H_NEW : 0) |
                                     (new > 0 ? NEW : 0));
            }
        }
    }
}

INLINE void close_rows(const Close *restrict gate, int carried_is_bf16, int is_bf16)
{
    int64_t channels = gate->channels;
    float slope = gate->slope, leak = gate->leak;
    size_t width = is_bf16 ? 2 : 4;
    for (int64_t row = 0; row < gate->rows; row++) {
        int64_t at = row * channels;
        const float *restrict gu = gate->update_gradient + at;
        const float *restrict gc = gate->candidate_gradient + at;
        const float *restrict update = gate->update + at, *restrict reset = gate->reset + at;
        const char *restrict carried = (const char *)gate->carried + at * (carried_is_bf16 ? 2 : 4);
        const uint8_t *restrict signs = gate->signs + at;
        char *restrict gx = (char *)gate->x_gradient + 3 * at * width;
        char *restrict gh = (char *)gate->h_gradient + 3 * at * width;
        char *gx_r = gx + channels * width, *gh_r = gh + channels * width;
        char *gx_h = gx_r + channels * width, *gh_h = gh_r + channels * width;
#pragma GCC ivdep
        for (int64_t j = 0; j < channels; j++) {
            int32_t sign = signs[j];
            float u = update[j], r = reset[j];
            float into_u = gu[j] * u * (1.0f - u);
            float into_new = gc[j] * (sign & NEW ? 1.0f : leak);
            float into_r = into_new * load(carried, j, carried_is_bf16) * r * (1.0f - r);
            store(gx, j, into_u * (sign & X_UPDATE ? 1.0f : slope), is_bf16);
            store(gh, j, into_u * (sign & H_UPDATE ? 1.0f : slope), is_bf16);
            store(gx_r, j, into_r * (sign & X_RESET ? 1.0f : slope), is_bf16);
            store(gh_r, j, into_r * (sign & H_RESET ? 1.0f : slope), is_bf16);
            store(gx_h, j, into_new * (sign & X_NEW ? 1.0f : slope), is_bf16);
            store(gh_h, j, into_new * r * (sign & H_NEW ? 1.0f : slope), is_bf16);
        }
    }
}

FOR_EVERY_PROCESSOR
static void open_float(const Open *gate)
{
    if (gate->signs)
        open_rows(gate, 0, 0, 1);
    else
        open_rows(gate, 0, 0, 0);
}

FOR_EVERY_PROCESSOR
static void open_bf16(const Open *gate)
{
    if (gate->signs)
        open_rows(gate, 1, 1, 1);
    else
        open_rows(gate, 1, 1, 0);
}

/* A bias alone is float where a convolution is bfloat16. */
FOR_EVERY_PROCESSOR
static void open_x_alone(const Open *gate)
{
    if (gate->signs)
        open_rows(gate, 1, 0, 1);
    else
        open_rows(gate, 1, 0, 0);
}

FOR_EVERY_PROCESSOR
static void open_h_alone(const Open *gate)
{
    if (gate->signs)
        open_rows(gate, 0, 1, 1);
    else
        open_rows(gate, 0, 1, 0);
}

FOR_EVERY_PROCESSOR
static void close_float(const Close *gate)
{
    close_rows(gate, 0, 0);
}

FOR_EVERY_PROCESSOR
static void close_bf16(const Close *gate)
{
    close_rows(gate, 1, 1);
}

FOR_EVERY_PROCESSOR
static void close_x_alone(const Close *gate)
{
    close_rows(gate, 0, 1);
}

FOR_EVERY_PROCESSOR
static void mix(const float *restrict candidate, const float *restrict hidden,
                const float *restrict update, float *restrict output, int64_t count)
{
#pragma GCC ivdep
    for (int64_t i = 0; i < count; i++)
        output[i] = candidate[i] + update[i] * (hidden[i] - candidate[i]);
}

FOR_EVERY_PROCESSOR
static void unmix(const float *restrict gradient, const float *restrict candidate,
                  const float *restrict hidden, const float *restrict update,
                  float *restrict into_candidate, float *restrict into_hidden,
                  float *restrict into_update, int64_t count)
{
#pragma GCC ivdep
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i], u = update[i];
        into_candidate[i] = g - g * u;
        into_hidden[i] = g * u;
        into_update[i] = g * (hidden[i] - candidate[i]);
    }
}

/* Frames with the channels innermost, of so many numbers (any, if negative). */
static int read_frames(PyObject *object, const char *name, int kinds, int64_t count, Tensor *out)
{
    if (read_tensor(object, name, kinds, out) || (count >= 0 && expect_count(out, count)))
        return -1;
    return expect(!out->kind || (out->ndim == 4 && (out->shape[1] == 1 || out->strides[1] == 1)),
                  "expected batch channels height width with the channels innermost");
}

/* A part of x or h: three for each of so many numbers, or one row of channels for all; its step. */
static int read_parts(PyObject *object, const char *name, int64_t count, int64_t channels,
                      Tensor *out, int64_t *step)
{
    if (read_tensor(object, name, KIND_FLOAT32 | KIND_BFLOAT16, out))
        return -1;
    *step = out->ndim == 1 ? 0 : PARTS * channels;
    if (!*step)
        return expect_count(out, PARTS * channels);
    return read_frames(object, name, KIND_FLOAT32 | KIND_BFLOAT16, PARTS * count, out);
}

static PyObject *py_open(PyObject *self, PyObject *args)
{
    PyObject *of[7];
    Tensor x, h, update, candidate, reset, carried, signs;
    int64_t x_step, h_step;
    float slope, leak;
    if (!PyArg_ParseTuple(args, "OOOOOOOff", &of[0], &of[1], &of[2], &of[3], &of[4], &of[5], &of[6],
                          &slope, &leak)
        || read_frames(of[2], "update", KIND_FLOAT32, -1, &update))
        return NULL;
    int64_t count = update.count, channels = update.shape[1];
    if (read_parts(of[0], "x", count, channels, &x, &x_step)
        || read_parts(of[1], "h", count, channels, &h, &h_step)
        || read_frames(of[3], "candidate", KIND_FLOAT32, count, &candidate)
        || read_frames(of[4], "reset", KIND_FLOAT32 | KIND_NONE, count, &reset)
        || read_frames(of[5], "carried", KIND_FLOAT32 | KIND_BFLOAT16 | KIND_NONE, count, &carried)
        || read_frames(of[6], "signs", KIND_UINT8 | KIND_NONE, count, &signs)
        || expect_kind(&carried, &h)
        || expect(!reset.kind == !signs.kind && !carried.kind == !signs.kind,
                  "expected reset, carried and signs, or none of them"))
        return NULL;
    Open gate = {x.data, h.data, x_step, h_step, update.data, candidate.data, reset.data,
                 carried.data, signs.data, channels ? count / channels : 0, channels, slope, leak};
    Py_BEGIN_ALLOW_THREADS
    if (x.kind == KIND_BFLOAT16)
        (h.kind == KIND_BFLOAT16 ? open_bf16 : open_x_alone)(&gate);
    else
        (h.kind == KIND_BFLOAT16 ? open_h_alone : open_float)(&gate);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_close(PyObject *self, PyObject *args)
{
    PyObject *of[8];
    Tensor gu, gc, update, reset, carried, signs, gx, gh;
    float slope, leak;
    if (!PyArg_ParseTuple(args, "OOOOOOOOff", &of[0], &of[1], &of[2], &of[3], &of[4], &of[5],
                          &of[6], &of[7], &slope, &leak)
        || read_frames(of[2], "update", KIND_FLOAT32, -1, &update))
        return NULL;
    int64_t count = update.count, channels = update.shape[1];
    if (read_frames(of[0], "update_gradient", KIND_FLOAT32, count, &gu)
        || read_frames(of[1], "candidate_gradient", KIND_FLOAT32, count, &gc)
        || read_frames(of[3], "reset", KIND_FLOAT32, count, &reset)
        || read_frames(of[4], "carried", KIND_FLOAT32 | KIND_BFLOAT16, count, &carried)
        || read_frames(of[5], "signs", KIND_UINT8, count, &signs)
        || read_frames(of[6], "x_gradient", KIND_FLOAT32 | KIND_BFLOAT16, PARTS * count, &gx)
        || read_frames(of[7], "h_gradient", KIND_FLOAT32 | KIND_BFLOAT16, PARTS * count, &gh)
        || expect_kind(&gh, &gx)
        || expect(gx.kind == KIND_BFLOAT16 || carried.kind == KIND_FLOAT32,
                  "carried: expected float32, as the gradients"))
        return NULL;
    Close gate = {gu.data, gc.data, update.data, reset.data, carried.data, signs.data, gx.data,
                  gh.data, channels ? count / channels : 0, channels, slope, leak};
    Py_BEGIN_ALLOW_THREADS
    if (gx.kind == KIND_FLOAT32)
        close_float(&gate);
    else
        (carried.kind == KIND_BFLOAT16 ? close_bf16 : close_x_alone)(&gate);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* So many float tensors with as many numbers as the first. */
static int read_alike(PyObject *args, const char *const *names, Tensor *out, int number)
{
    if (expect(PyTuple_GET_SIZE(args) == number, "expected another number of tensors"))
        return -1;
    for (int n = 0; n < number; n++)
        if (read_frames(PyTuple_GET_ITEM(args, n), names[n], KIND_FLOAT32, n ? out[0].count : -1,
                        out + n))
            return -1;
    return 0;
}

static PyObject *py_mix(PyObject *self, PyObject *args)
{
    static const char *const names[] = {"candidate", "hidden", "update", "output"};
    Tensor of[4];
    if (read_alike(args, names, of, 4))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    mix(of[0].data, of[1].data, of[2].data, of[3].data, of[0].count);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_unmix(PyObject *self, PyObject *args)
{
    static const char *const names[] = {
        "gradient", "candidate", "hidden", "update",
        "candidate_gradient", "hidden_gradient", "update_gradient",
    };
    Tensor of[7];
    if (read_alike(args, names, of, 7))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    unmix(of[0].data, of[1].data, of[2].data, of[3].data, of[4].data, of[5].data, of[6].data,
          of[0].count);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"open", py_open, METH_VARARGS, "Update gate and candidate from x and h."},
    {"close", py_close, METH_VARARGS, "The gradients of x and h from those of `open`."},
    {"mix", py_mix, METH_VARARGS, "Candidate and hidden state mixed by the update gate."},
    {"unmix", py_unmix, METH_VARARGS, "The gradients of the three from that of `mix`."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_gates", NULL, -1, methods};

PyMODINIT_FUNC PyInit__gates(void)
{
    return find_dlpack() ? NULL : PyModule_Create(&module);
}
