/* The gates of a convolutional GRU on a CPU, in one pass each way: see recurrence.py.
 *
 * Values lie with the channels innermost, a row of them for each place of each frame; a row of x or
 * h has three parts: update, reset, candidate. All is computed in float, whatever is stored. The
 * loops are plain for the compiler to vectorise, and on x86 Linux it does so for every kind of
 * processor, chosen when it is loaded.
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
    void *update, *candidate;          /* out; rows of one part */
    void *reset, *carried;             /* out, for the way back: r and the activated h_h */
    uint8_t *signs;                    /* out, likewise; NULL if there is no way back */
    int64_t rows, channels;
    float slope, leak;                 /* of the activation of x and h (1: none); of the candidate */
} Open;

typedef struct {
    const void *update_gradient, *candidate_gradient, *update, *reset, *carried;
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

INLINE void open_rows(const Open *restrict gate, int is_bf16, int way_back)
{
    int64_t channels = gate->channels;
    float slope = gate->slope, leak = gate->leak;
    size_t width = is_bf16 ? 2 : 4;
    for (int64_t row = 0; row < gate->rows; row++) {
        const char *restrict x = (const char *)gate->x + row * gate->x_step * width;
        const char *restrict h = (const char *)gate->h + row * gate->h_step * width;
        const char *x_r = x + channels * width, *h_r = h + channels * width;
        const char *x_h = x_r + channels * width, *h_h = h_r + channels * width;
        char *restrict update = (char *)gate->update + row * channels * width;
        char *restrict candidate = (char *)gate->candidate + row * channels * width;
        char *restrict reset = (char *)gate->reset + (way_back ? row * channels * width : 0);
        char *restrict carried = (char *)gate->carried + (way_back ? row * channels * width : 0);
        uint8_t *restrict signs = gate->signs + (way_back ? row * channels : 0);
#pragma GCC ivdep
        for (int64_t j = 0; j < channels; j++) {
            float xz = load(x, j, is_bf16), hz = load(h, j, is_bf16);
            float xr = load(x_r, j, is_bf16), hr = load(h_r, j, is_bf16);
            float xh = load(x_h, j, is_bf16), hh = load(h_h, j, is_bf16);
            float u = sigmoid(leaky(xz, slope) + leaky(hz, slope));
            float r = sigmoid(leaky(xr, slope) + leaky(hr, slope));
            float from_past = leaky(hh, slope);
            float new = leaky(xh, slope) + r * from_past;
            store(update, j, u, is_bf16);
            store(candidate, j, leaky(new, leak), is_bf16);
            if (way_back) {
                store(reset, j, r, is_bf16);
                store(carried, j, from_past, is_bf16);
                signs[j] = (uint8_t)((xz > 0 ? X_UPDATE : 0) | (hz > 0 ? H_UPDATE : 0) |
                                     (xr > 0 ? X_RESET : 0) | (hr > 0 ? H_RESET : 0) |
                                     (xh > 0 ? X_NEW : 0) | (hh > 0 ? H_NEW : 0) |
                                     (new > 0 ? NEW : 0));
            }
        }
    }
}

INLINE void close_rows(const Close *restrict gate, int is_bf16)
{
    int64_t channels = gate->channels;
    float slope = gate->slope, leak = gate->leak;
    size_t width = is_bf16 ? 2 : 4;
    for (int64_t row = 0; row < gate->rows; row++) {
        int64_t at = row * channels * width;
        const char *restrict gu = (const char *)gate->update_gradient + at;
        const char *restrict gc = (const char *)gate->candidate_gradient + at;
        const char *restrict update = (const char *)gate->update + at;
        const char *restrict reset = (const char *)gate->reset + at;
        const char *restrict carried = (const char *)gate->carried + at;
        const uint8_t *restrict signs = gate->signs + row * channels;
        char *restrict gx = (char *)gate->x_gradient + 3 * at;
        char *restrict gh = (char *)gate->h_gradient + 3 * at;
        char *gx_r = gx + channels * width, *gh_r = gh + channels * width;
        char *gx_h = gx_r + channels * width, *gh_h = gh_r + channels * width;
#pragma GCC ivdep
        for (int64_t j = 0; j < channels; j++) {
            int32_t sign = signs[j];
            float u = load(update, j, is_bf16), r = load(reset, j, is_bf16);
            float into_u = load(gu, j, is_bf16) * u * (1.0f - u);
            float into_new = load(gc, j, is_bf16) * (sign & NEW ? 1.0f : leak);
            float into_r = into_new * load(carried, j, is_bf16) * r * (1.0f - r);
            store(gx, j, into_u * (sign & X_UPDATE ? 1.0f : slope), is_bf16);
            store(gh, j, into_u * (sign & H_UPDATE ? 1.0f : slope), is_bf16);
            store(gx_r, j, into_r * (sign & X_RESET ? 1.0f : slope), is_bf16);
            store(gh_r, j, into_r * (sign & H_RESET ? 1.0f : slope), is_bf16);
            store(gx_h, j, into_new * (sign & X_NEW ? 1.0f : slope), is_bf16);
            store(gh_h, j, into_new * r * (sign & H_NEW ? 1.0f : slope), is_bf16);
        }
    }
}

INLINE void mix_all(const void *restrict candidate, const void *restrict hidden,
                    const void *restrict update, void *restrict output, int64_t count, int is_bf16)
{
#pragma GCC ivdep
    for (int64_t i = 0; i < count; i++) {
        float c = load(candidate, i, is_bf16), h = load(hidden, i, is_bf16);
        store(output, i, c + load(update, i, is_bf16) * (h - c), is_bf16);
    }
}

INLINE void unmix_all(const void *restrict gradient, const void *restrict candidate,
                      const void *restrict hidden, const void *restrict update,
                      void *restrict into_candidate, void *restrict into_hidden,
                      void *restrict into_update, int64_t count, int is_bf16)
{
#pragma GCC ivdep
    for (int64_t i = 0; i < count; i++) {
        float g = load(gradient, i, is_bf16), u = load(update, i, is_bf16);
        float c = load(candidate, i, is_bf16), h = load(hidden, i, is_bf16);
        store(into_candidate, i, g - g * u, is_bf16);
        store(into_hidden, i, g * u, is_bf16);
        store(into_update, i, g * (h - c), is_bf16);
    }
}

FOR_EVERY_PROCESSOR
static void open_float(const Open *gate)
{
    if (gate->signs)
        open_rows(gate, 0, 1);
    else
        open_rows(gate, 0, 0);
}

FOR_EVERY_PROCESSOR
static void open_bf16(const Open *gate)
{
    if (gate->signs)
        open_rows(gate, 1, 1);
    else
        open_rows(gate, 1, 0);
}

FOR_EVERY_PROCESSOR
static void close_float(const Close *gate)
{
    close_rows(gate, 0);
}

FOR_EVERY_PROCESSOR
static void close_bf16(const Close *gate)
{
    close_rows(gate, 1);
}

FOR_EVERY_PROCESSOR
static void mix_float(const void *c, const void *h, const void *u, void *out, int64_t count)
{
    mix_all(c, h, u, out, count, 0);
}

FOR_EVERY_PROCESSOR
static void mix_bf16(const void *c, const void *h, const void *u, void *out, int64_t count)
{
    mix_all(c, h, u, out, count, 1);
}

FOR_EVERY_PROCESSOR
static void unmix_float(const void *g, const void *c, const void *h, const void *u, void *gc,
                        void *gh, void *gu, int64_t count)
{
    unmix_all(g, c, h, u, gc, gh, gu, count, 0);
}

FOR_EVERY_PROCESSOR
static void unmix_bf16(const void *g, const void *c, const void *h, const void *u, void *gc,
                       void *gh, void *gu, int64_t count)
{
    unmix_all(g, c, h, u, gc, gh, gu, count, 1);
}

static PyObject *py_open(PyObject *self, PyObject *args)
{
    unsigned long long x, h, update, candidate, reset, carried, signs;
    long long x_step, h_step, rows, channels;
    float slope, leak;
    int is_bf16;
    if (!PyArg_ParseTuple(args, "KLKLKKKKKLLffp", &x, &x_step, &h, &h_step, &update, &candidate,
                          &reset, &carried, &signs, &rows, &channels, &slope, &leak, &is_bf16))
        return NULL;
    Open gate = {(void *)(uintptr_t)x, (void *)(uintptr_t)h, x_step, h_step,
                 (void *)(uintptr_t)update, (void *)(uintptr_t)candidate,
                 (void *)(uintptr_t)reset, (void *)(uintptr_t)carried,
                 (uint8_t *)(uintptr_t)signs, rows, channels, slope, leak};
    Py_BEGIN_ALLOW_THREADS
    if (is_bf16)
        open_bf16(&gate);
    else
        open_float(&gate);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_close(PyObject *self, PyObject *args)
{
    unsigned long long gu, gc, update, reset, carried, signs, gx, gh;
    long long rows, channels;
    float slope, leak;
    int is_bf16;
    if (!PyArg_ParseTuple(args, "KKKKKKKKLLffp", &gu, &gc, &update, &reset, &carried, &signs, &gx,
                          &gh, &rows, &channels, &slope, &leak, &is_bf16))
        return NULL;
    Close gate = {(void *)(uintptr_t)gu, (void *)(uintptr_t)gc, (void *)(uintptr_t)update,
                  (void *)(uintptr_t)reset, (void *)(uintptr_t)carried,
                  (const uint8_t *)(uintptr_t)signs, (void *)(uintptr_t)gx, (void *)(uintptr_t)gh,
                  rows, channels, slope, leak};
    Py_BEGIN_ALLOW_THREADS
    if (is_bf16)
        close_bf16(&gate);
    else
        close_float(&gate);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_mix(PyObject *self, PyObject *args)
{
    unsigned long long c, h, u, out;
    long long count;
    int is_bf16;
    if (!PyArg_ParseTuple(args, "KKKKLp", &c, &h, &u, &out, &count, &is_bf16))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    (is_bf16 ? mix_bf16 : mix_float)((void *)(uintptr_t)c, (void *)(uintptr_t)h,
                                     (void *)(uintptr_t)u, (void *)(uintptr_t)out, count);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_unmix(PyObject *self, PyObject *args)
{
    unsigned long long g, c, h, u, gc, gh, gu;
    long long count;
    int is_bf16;
    if (!PyArg_ParseTuple(args, "KKKKKKKLp", &g, &c, &h, &u, &gc, &gh, &gu, &count, &is_bf16))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    (is_bf16 ? unmix_bf16 : unmix_float)(
        (void *)(uintptr_t)g, (void *)(uintptr_t)c, (void *)(uintptr_t)h, (void *)(uintptr_t)u,
        (void *)(uintptr_t)gc, (void *)(uintptr_t)gh, (void *)(uintptr_t)gu, count);
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
