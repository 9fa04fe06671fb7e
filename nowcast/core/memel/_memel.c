/* What MEmeL does to a batch on a CPU, in one pass over it: see nowcast/core/memel/fused.py.
 *
 * Samples lie one after another, neurons in memory order; sums are taken for a block of neurons at
 * a time, so that the activation is read from memory once. The loops are plain for the compiler to
 * vectorise, and on x86 Linux it does so for every kind of processor, chosen when it is loaded.
 */
#include "../system/native.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

#define BLOCK 512 /* neurons; a block of 16 samples is 32 KB */

typedef struct {
    int32_t scale; /* the bits of a float that is not negative, which order as the floats do */
    int64_t order; /* row-major number of the neuron: of equal scales the lowest is first */
    int64_t place; /* its number in memory order */
} Pick;

typedef struct {
    const void *values;
    void *output;
    float *mean, *variance, *scale;
    int64_t *batches, *samples, *chosen;
    double *moments; /* out, for several ranks to add up, in the place of new statistics; or NULL */
    int64_t batch, neurons, channels; /* channels: the innermost dimension, 0 if row-major */
    int64_t top_k, forget_steps, late_start;
    float eps;
    int is_bf16, is_given; /* is_given: `chosen` has been made already */
    /* Where a threshold chooses, not `top_k`: what exceeds it, and its deviations, or NULL. */
    float threshold;
    int64_t *found, exceeding;
    float *away;
} Call;

FOR_EVERY_PROCESSOR
static void load(float *to, const Call *call, int64_t first, int64_t count)
{
    if (!call->is_bf16) {
        memcpy(to, (const float *)call->values + first, count * sizeof *to);
        return;
    }
    const uint16_t *from = (const uint16_t *)call->values + first;
    for (int64_t j = 0; j < count; j++)
        to[j] = from_bf16(from[j]);
}

FOR_EVERY_PROCESSOR
static void add_to(float *sums, const float *x, int64_t count)
{
    for (int64_t j = 0; j < count; j++)
        sums[j] += x[j];
}

/* Squared deviations from the batch's mean into `squares`; scales into `scale`, their largest out.
 * NaN, whatever its sign, is the largest. */
FOR_EVERY_PROCESSOR
static int32_t deviate(float *squares, int32_t *scale, const float *x, const float *batch_mean,
                       const float *mean, const float *unit, int64_t count)
{
    int32_t largest = 0;
    for (int64_t j = 0; j < count; j++) {
        float within = x[j] - batch_mean[j], from_past = x[j] - mean[j];
        squares[j] += within * within;
        float phi = from_past * from_past / unit[j];
        int32_t bits;
        memcpy(&bits, &phi, sizeof bits);
        bits &= 0x7fffffff;
        scale[j] = bits;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/* The batch's mean of a sum, how far it is from the running mean, and what a scale is measured in. */
FOR_EVERY_PROCESSOR
static void centre(float *batch_mean, float *shift, float *unit, const float *mean,
                   const float *variance, int64_t count, float batch, float compensation)
{
    for (int64_t j = 0; j < count; j++) {
        batch_mean[j] /= batch;
        shift[j] = batch_mean[j] - mean[j];
        float own = variance[j] + compensation;
        unit[j] = own > FLT_MIN ? own : FLT_MIN;
    }
}

/* New variances into `squares`, the bits of the largest out: of no number if a value was none. */
FOR_EVERY_PROCESSOR
static int32_t merge(float *squares, const float *shift, const float *variance, int64_t count,
                     float keep, float within, float between)
{
    int32_t largest = 0;
    for (int64_t j = 0; j < count; j++) {
        float new = variance[j] * keep + squares[j] * within + shift[j] * shift[j] * between;
        int32_t bits;
        memcpy(&bits, &new, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
        squares[j] = new;
    }
    return largest;
}

#define LANES 16
FOR_EVERY_PROCESSOR
static float mean_of(const float *x, int64_t count)
{
    float lanes[LANES] = {0};
    int64_t j = 0;
    for (; j + LANES <= count; j += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] += x[j + lane];
    double sum = 0;
    for (; j < count; j++)
        sum += x[j];
    for (int lane = 0; lane < LANES; lane++)
        sum += lanes[lane];
    return (float)(sum / count);
}

static void pick(Pick *picks, int64_t top_k, int32_t scale, int64_t order, int64_t place)
{
    int64_t at = top_k;
    while (at > 0 && (scale > picks[at - 1].scale
                      || (scale == picks[at - 1].scale && order < picks[at - 1].order)))
        at--;
    if (at == top_k)
        return;
    memmove(picks + at + 1, picks + at, (top_k - 1 - at) * sizeof *picks);
    picks[at] = (Pick){scale, order, place};
}

/* The mean in the place of every choice that is finite; how many were not, and if any changed. */
static int64_t edit(const Call *call, int *changed)
{
    int64_t left = 0;
    for (int64_t n = 0; n < call->batch * call->top_k; n++) {
        int64_t place = call->chosen[n], at = n / call->top_k * call->neurons + place;
        float mean = call->mean[place];
        if (call->is_bf16) {
            uint16_t *value = (uint16_t *)call->output + at, half = to_bf16(mean);
            if (!isfinite(from_bf16(*value))) {
                left++;
                continue;
            }
            *changed |= from_bf16(*value) != from_bf16(half);
            *value = half;
        } else {
            float *value = (float *)call->output + at;
            if (!isfinite(*value)) {
                left++;
                continue;
            }
            *changed |= *value != mean;
            *value = mean;
        }
    }
    return left;
}

/* A batch of `batch` samples into the statistics, unless it makes them no numbers. */
static void count_in(float *mean, float *variance, int64_t *batches, int64_t *samples,
                     const float *shift, float *squares, int64_t neurons, int64_t batch,
                     int64_t forget_steps)
{
    float past = *batches < forget_steps ? *samples : forget_steps * batch;
    float total = past + batch, freedom = fmaxf(total - 1, 1);
    float limit = FLT_MAX / neurons; /* so that their sum is a number too */
    int32_t bits, largest = merge(squares, shift, variance, neurons, (past - 1) / freedom,
                                  1 / freedom, past * batch / (total * freedom));
    memcpy(&bits, &limit, sizeof bits);
    if (largest >= bits)
        return;
    memcpy(variance, squares, neurons * sizeof *squares);
    for (int64_t j = 0; j < neurons; j++)
        mean[j] += shift[j] * (batch / total);
    *batches += 1;
    *samples += batch;
}

/* A batch's moments about the running mean, which add up over ranks: its size, the sums of its
 * deviations, the sums of their squares. In double, so that `gather` loses nothing. */
FOR_EVERY_PROCESSOR
static void leave(double *moments, const float *shift, const float *squares, int64_t neurons,
                  int64_t batch)
{
    double *sums = moments + 1, *square_sums = sums + neurons;
    moments[0] = (double)batch;
    if (!batch) /* whose mean is no number */
        memset(sums, 0, 2 * neurons * sizeof *sums);
    for (int64_t j = 0; batch && j < neurons; j++) {
        sums[j] = (double)shift[j] * batch;
        square_sums[j] = squares[j] + sums[j] * shift[j];
    }
}

/* The inverse, of the sums of all ranks. */
FOR_EVERY_PROCESSOR
static void gather(const double *moments, float *shift, float *squares, int64_t neurons)
{
    const double *sums = moments + 1, *square_sums = sums + neurons;
    for (int64_t j = 0; j < neurons; j++) {
        double mean = sums[j] / moments[0], rest = square_sums[j] - sums[j] * mean;
        shift[j] = (float)mean;
        squares[j] = (float)(rest < 0 ? 0 : rest); /* NaN stays */
    }
}

/* The values of a row that exceed the threshold and are finite: where they lie in memory, how far
 * from their means, and the means in their place. Most lanes hold none; in the others a value is
 * noted before it is known to stay, so that nothing branches. */
FOR_EVERY_PROCESSOR
static void sift(Call *call, const int32_t *scale, const float *x, int64_t at, const float *mean,
                 int64_t count, int *changed)
{
    int64_t *found = call->found, from = call->exceeding, n = from;
    int32_t threshold;
    memcpy(&threshold, &call->threshold, sizeof threshold);
    for (int64_t first = 0; first < count; first += LANES) {
        int64_t last = first + LANES < count ? first + LANES : count;
        int32_t any = 0;
        for (int64_t j = first; j < last; j++)
            any |= scale[j] >= threshold;
        for (int64_t j = first; any && j < last; j++) {
            found[n] = at + j;
            n += scale[j] >= threshold && isfinite(x[j]);
        }
    }
    call->exceeding = n;
    for (int64_t k = from; call->away && k < n; k++)
        call->away[k] = x[found[k] - at] - mean[found[k] - at];
    if (!call->output || *call->batches < call->late_start)
        return;
    for (int64_t k = from; k < n; k++) {
        float value = mean[found[k] - at];
        if (call->is_bf16) {
            uint16_t half = to_bf16(value);
            value = from_bf16(half);
            ((uint16_t *)call->output)[found[k]] = half;
        } else
            ((float *)call->output)[found[k]] = value;
        *changed |= x[found[k] - at] != value;
    }
}

/* Everything of one call; the picks left alone, or -1 before `late_start`, or -2 without memory. */
static int64_t see(Call *call, int *changed)
{
    int64_t batch = call->batch, neurons = call->neurons, left = -1;
    int64_t top_k = call->found || call->is_given ? 0 : call->top_k;
    int32_t least = 0;
    if (call->found)
        memcpy(&least, &call->threshold, sizeof least);
    float *space = malloc((2 * neurons + batch * BLOCK) * sizeof *space);
    Pick *picks = malloc((batch * top_k + 1) * sizeof *picks);
    if (!space || !picks) {
        free(space);
        free(picks);
        return -2;
    }
    float *shift = space, *squares = space + neurons, *rows = squares + neurons;
    for (int64_t n = 0; n < batch * top_k; n++)
        picks[n] = (Pick){0, INT64_MAX, 0};
    float compensation = call->eps * mean_of(call->variance, neurons);
    if (call->output && call->output != call->values)
        memcpy(call->output, call->values, batch * neurons * (call->is_bf16 ? 2 : 4));

    for (int64_t first = 0; first < neurons; first += BLOCK) {
        int64_t count = neurons - first < BLOCK ? neurons - first : BLOCK;
        float batch_mean[BLOCK] = {0}, unit[BLOCK];
        int32_t scale[BLOCK];
        for (int64_t b = 0; b < batch; b++) {
            load(rows + b * BLOCK, call, b * neurons + first, count);
            add_to(batch_mean, rows + b * BLOCK, count);
        }
        memset(squares + first, 0, count * sizeof *squares);
        centre(batch_mean, shift + first, unit, call->mean + first, call->variance + first, count,
               batch, compensation);
        for (int64_t b = 0; b < batch; b++) {
            Pick *own = picks + b * top_k;
            int32_t largest = deviate(squares + first, scale, rows + b * BLOCK, batch_mean,
                                      call->mean + first, unit, count);
            if (call->found && largest >= least)
                sift(call, scale, rows + b * BLOCK, b * neurons + first, call->mean + first, count,
                     changed);
            if (top_k && largest >= own[top_k - 1].scale)
                for (int64_t j = 0; j < count; j++)
                    if (scale[j] >= own[top_k - 1].scale) {
                        int64_t place = first + j, order = place;
                        if (call->channels)
                            order = place % call->channels * (neurons / call->channels)
                                    + place / call->channels;
                        pick(own, top_k, scale[j], order, place);
                    }
            if (call->scale)
                memcpy(call->scale + b * neurons + first, scale, count * sizeof *scale);
        }
    }

    for (int64_t n = 0; n < batch * top_k; n++)
        call->chosen[n] = picks[n].place;
    if (*call->batches >= call->late_start)
        left = call->found ? 0 : edit(call, changed);

    if (call->moments)
        leave(call->moments, shift, squares, neurons, batch);
    else
        count_in(call->mean, call->variance, call->batches, call->samples, shift, squares, neurons,
                 batch, call->forget_steps);
    free(space);
    free(picks);
    return left;
}

static int read_statistics(PyObject *const *objects, Tensor *mean, Tensor *variance,
                           Tensor *batches, Tensor *samples)
{
    return read_tensor(objects[0], "running_mean", KIND_FLOAT32, mean)
           || read_tensor(objects[1], "running_var", KIND_FLOAT32, variance)
           || read_tensor(objects[2], "num_batches_tracked", KIND_INT64, batches)
           || read_tensor(objects[3], "num_samples_tracked", KIND_INT64, samples)
           || expect(mean->count > 0, "running_mean: expected neurons, found none")
           || expect_count(variance, mean->count) || expect_count(batches, 1)
           || expect_count(samples, 1);
}

/* What both kinds of call are about, checked; batch -1 is that of the values. */
static int read_call(PyObject *const *objects, Call *call, Tensor *values, Tensor *mean,
                     int64_t batch)
{
    Tensor output, variance, batches, samples, scale, moments;
    if (read_tensor(objects[0], "values", KIND_FLOAT32 | KIND_BFLOAT16, values)
        || read_tensor(objects[1], "output", KIND_FLOAT32 | KIND_BFLOAT16 | KIND_NONE, &output)
        || read_statistics(objects + 2, mean, &variance, &batches, &samples)
        || read_tensor(objects[6], "scale", KIND_FLOAT32 | KIND_NONE, &scale)
        || read_tensor(objects[7], "moments", KIND_FLOAT64 | KIND_NONE, &moments))
        return -1;
    int64_t neurons = mean->count;
    if (batch < 0)
        batch = values->count / neurons;
    if (expect_count(values, batch * neurons) || expect_count(&scale, values->count)
        || expect_count(&moments, 1 + 2 * neurons)
        || (output.data && (expect_kind(&output, values) || expect_count(&output, values->count))))
        return -1;
    *call = (Call){.values = values->data, .output = output.data, .mean = mean->data,
                   .variance = variance.data, .scale = scale.data, .batches = batches.data,
                   .samples = samples.data, .moments = moments.data, .batch = batch,
                   .neurons = neurons, .forget_steps = call->forget_steps,
                   .late_start = call->late_start, .eps = call->eps,
                   .is_bf16 = values->kind == KIND_BFLOAT16};
    return 0;
}

static PyObject *memel_see(PyObject *self, PyObject *args)
{
    PyObject *of[9];
    Tensor values, mean, chosen;
    Call call;
    long long forget_steps, late_start;
    int64_t left;
    int channels_last, is_given = 0, changed = 0;
    if (!PyArg_ParseTuple(args, "OO(OOOO)OOOpLLf|p", &of[0], &of[1], &of[2], &of[3], &of[4], &of[5],
                          &of[8], &of[6], &of[7], &channels_last, &forget_steps, &late_start,
                          &call.eps, &is_given))
        return NULL;
    call.forget_steps = forget_steps;
    call.late_start = late_start;
    if (read_tensor(of[8], "chosen", KIND_INT64, &chosen)
        || expect(chosen.ndim == 2, "chosen: expected batch top_k")
        || read_call(of, &call, &values, &mean, chosen.shape[0])
        || expect(of[1] != Py_None, "output: expected a tensor, found None"))
        return NULL;
    int64_t top_k = chosen.shape[1], *places = chosen.data;
    if (expect(top_k >= 1 && top_k <= call.neurons,
               "chosen: expected top_k from 1 to the neurons"))
        return NULL;
    for (int64_t n = 0; is_given && n < chosen.count; n++)
        if (expect(places[n] >= 0 && places[n] < call.neurons,
                   "chosen: expected neurons of the values, found another"))
            return NULL;
    call.chosen = places;
    call.channels = channels_last && mean.ndim ? mean.shape[0] : 0;
    call.top_k = top_k;
    call.is_given = is_given;
    Py_BEGIN_ALLOW_THREADS
    left = see(&call, &changed);
    Py_END_ALLOW_THREADS
    return left == -2 ? PyErr_NoMemory() : Py_BuildValue("Li", (long long)left, changed);
}

static PyObject *memel_sift(PyObject *self, PyObject *args)
{
    PyObject *of[10];
    Tensor values, mean, found, away;
    Call call;
    float threshold;
    long long forget_steps, late_start;
    int64_t left;
    int changed = 0;
    if (!PyArg_ParseTuple(args, "OO(OOOO)OOOOfLLf", &of[0], &of[1], &of[2], &of[3], &of[4], &of[5],
                          &of[8], &of[9], &of[6], &of[7], &threshold, &forget_steps, &late_start,
                          &call.eps))
        return NULL;
    call.forget_steps = forget_steps;
    call.late_start = late_start;
    if (read_call(of, &call, &values, &mean, -1)
        || read_tensor(of[8], "found", KIND_INT64, &found)
        || read_tensor(of[9], "away", KIND_FLOAT32 | KIND_NONE, &away)
        || expect_count(&found, values.count) || expect_count(&away, values.count)
        || expect(threshold > 0, "threshold: expected a number above 0"))
        return NULL;
    call.threshold = threshold;
    call.found = found.data;
    call.away = away.data;
    Py_BEGIN_ALLOW_THREADS
    left = see(&call, &changed);
    Py_END_ALLOW_THREADS
    return left == -2 ? PyErr_NoMemory()
                      : Py_BuildValue("Lii", (long long)call.exceeding, left >= 0, changed);
}

static PyObject *memel_count(PyObject *self, PyObject *args)
{
    PyObject *of[5];
    Tensor sums, mean, variance, batches, samples;
    long long forget_steps;
    if (!PyArg_ParseTuple(args, "O(OOOO)L", &of[0], &of[1], &of[2], &of[3], &of[4], &forget_steps)
        || read_tensor(of[0], "moments", KIND_FLOAT64, &sums)
        || read_statistics(of + 1, &mean, &variance, &batches, &samples)
        || expect_count(&sums, 1 + 2 * mean.count))
        return NULL;
    const double *moments = sums.data;
    int64_t neurons = mean.count;
    float *space = malloc(2 * neurons * sizeof *space);
    if (!space)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    if (moments[0] > 0) {
        gather(moments, space, space + neurons, neurons);
        count_in(mean.data, variance.data, batches.data, samples.data, space, space + neurons,
                 neurons, (int64_t)moments[0], forget_steps);
    }
    Py_END_ALLOW_THREADS
    free(space);
    Py_RETURN_NONE;
}

static PyObject *memel_turn(PyObject *self, PyObject *args)
{
    PyObject *of[3];
    Tensor gradient, output, places;
    float delta;
    int outside = 0;
    if (!PyArg_ParseTuple(args, "OOOf", &of[0], &of[1], &of[2], &delta)
        || read_tensor(of[0], "gradient", KIND_FLOAT32 | KIND_BFLOAT16, &gradient)
        || read_tensor(of[1], "output", KIND_FLOAT32 | KIND_BFLOAT16, &output)
        || read_tensor(of[2], "chosen", KIND_INT64, &places) || expect_kind(&output, &gradient)
        || expect_count(&output, gradient.count)
        || expect(places.ndim == 2 && places.shape[0] > 0 && places.shape[1] > 0
                      && gradient.count % places.shape[0] == 0,
                  "chosen: expected batch top_k, of the gradient's batch"))
        return NULL;
    const int64_t *chosen = places.data;
    int64_t top_k = places.shape[1], neurons = gradient.count / places.shape[0];
    int is_bf16 = gradient.kind == KIND_BFLOAT16;
    void *to = output.data;
    Py_BEGIN_ALLOW_THREADS
    memcpy(to, gradient.data, gradient.count * (is_bf16 ? 2 : 4));
    for (int64_t n = 0; n < places.count; n++) {
        if (chosen[n] < 0 || chosen[n] >= neurons) {
            outside = 1;
            break;
        }
        int64_t at = n / top_k * neurons + chosen[n];
        if (is_bf16)
            ((uint16_t *)to)[at] = to_bf16(from_bf16(((uint16_t *)to)[at]) * -delta);
        else
            ((float *)to)[at] *= -delta;
    }
    Py_END_ALLOW_THREADS
    if (expect(!outside, "chosen: expected neurons of the gradient, found another"))
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"see", memel_see, METH_VARARGS, "Look at a batch: statistics, choice and inhibited values."},
    {"sift", memel_sift, METH_VARARGS, "As see, for what exceeds a threshold; without output none."},
    {"count", memel_count, METH_VARARGS, "Take moments of several ranks' batches for one batch."},
    {"turn", memel_turn, METH_VARARGS, "A gradient with -delta times that of the chosen neurons."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_memel", NULL, 0, methods};

PyMODINIT_FUNC PyInit__memel(void)
{
    return find_dlpack() ? NULL : PyModule_Create(&module);
}
