/* The gates of a convolutional GRU on a CPU, in one pass each way: see recurrence.py.
 *
 * Values lie with the channels innermost, a row of them for each place of each frame; a row of x or
 * h has three parts: update, reset, candidate. Only what goes into or comes out of a convolution
 * may be bfloat16 (x, h, their gradients, and `carried`, which is made of h alone): states, gates
 * and candidates stay float from step to step, since each rounding adds to the error. The loops
 * are plain for the compiler to vectorise, and on x86 Linux it does so for every kind of processor,
 * chosen when it is loaded.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__linux__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12 /* which knows AVX-512 with its 16-bit part by this name */
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx2", "default")))
#endif
#else
#define FOR_EVERY_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline))

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
    if (!is_bf16)
        return ((const float *)from)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)from)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE void store(void *to, int64_t i, float value, int is_bf16)
{
    if (!is_bf16) {
        ((float *)to)[i] = value;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; /* to nearest, ties to even */
    ((uint16_t *)to)[i] = (uint16_t)(value != value ? 0x7fc0 : rounded);
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

static PyObject *py_open(PyObject *self, PyObject *args)
{
    unsigned long long x, h, update, candidate, reset, carried, signs;
    long long x_step, h_step, rows, channels;
    float slope, leak;
    int x_is_bf16, h_is_bf16;
    if (!PyArg_ParseTuple(args, "KLKLKKKKKLLffpp", &x, &x_step, &h, &h_step, &update, &candidate,
                          &reset, &carried, &signs, &rows, &channels, &slope, &leak, &x_is_bf16,
                          &h_is_bf16))
        return NULL;
    Open gate = {(void *)(uintptr_t)x, (void *)(uintptr_t)h, x_step, h_step,
                 (float *)(uintptr_t)update, (float *)(uintptr_t)candidate,
                 (float *)(uintptr_t)reset, (void *)(uintptr_t)carried,
                 (uint8_t *)(uintptr_t)signs, rows, channels, slope, leak};
    Py_BEGIN_ALLOW_THREADS
    if (x_is_bf16)
        (h_is_bf16 ? open_bf16 : open_x_alone)(&gate);
    else
        (h_is_bf16 ? open_h_alone : open_float)(&gate);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_close(PyObject *self, PyObject *args)
{
    unsigned long long gu, gc, update, reset, carried, signs, gx, gh;
    long long rows, channels;
    float slope, leak;
    int carried_is_bf16, is_bf16;
    if (!PyArg_ParseTuple(args, "KKKKKKKKLLffpp", &gu, &gc, &update, &reset, &carried, &signs, &gx,
                          &gh, &rows, &channels, &slope, &leak, &carried_is_bf16, &is_bf16))
        return NULL;
    Close gate = {(const float *)(uintptr_t)gu, (const float *)(uintptr_t)gc,
                  (const float *)(uintptr_t)update, (const float *)(uintptr_t)reset,
                  (void *)(uintptr_t)carried, (const uint8_t *)(uintptr_t)signs,
                  (void *)(uintptr_t)gx, (void *)(uintptr_t)gh, rows, channels, slope, leak};
    Py_BEGIN_ALLOW_THREADS
    if (!is_bf16)
        close_float(&gate);
    else
        (carried_is_bf16 ? close_bf16 : close_x_alone)(&gate);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_mix(PyObject *self, PyObject *args)
{
    unsigned long long c, h, u, out;
    long long count;
    if (!PyArg_ParseTuple(args, "KKKKL", &c, &h, &u, &out, &count))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    mix((float *)(uintptr_t)c, (float *)(uintptr_t)h, (float *)(uintptr_t)u,
        (float *)(uintptr_t)out, count);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_unmix(PyObject *self, PyObject *args)
{
    unsigned long long g, c, h, u, gc, gh, gu;
    long long count;
    if (!PyArg_ParseTuple(args, "KKKKKKKL", &g, &c, &h, &u, &gc, &gh, &gu, &count))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    unmix((float *)(uintptr_t)g, (float *)(uintptr_t)c, (float *)(uintptr_t)h,
          (float *)(uintptr_t)u, (float *)(uintptr_t)gc, (float *)(uintptr_t)gh,
          (float *)(uintptr_t)gu, count);
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
    return PyModule_Create(&module);
}
