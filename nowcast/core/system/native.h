/* What the C extensions share: loops for every processor, bfloat16, and tensors that are checked
 * before they are read. Tensors come through DLPack's exchange API, which torch offers as
 * `torch.Tensor.__dlpack_c_exchange_api__`; without it a module cannot be imported.
 */
#ifndef NOWCAST_NATIVE_H
#define NOWCAST_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__linux__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12 /* which knows the levels; v4 has AVX-512 with its 8- and 16-bit parts */
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx2", "default")))
#endif
#else
#define FOR_EVERY_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE float from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; /* to nearest, ties to even */
    return (uint16_t)(value != value ? 0x7fc0 : rounded);
}

/* DLPack, https://github.com/dmlc/dlpack, version 1: what is used of it. */
typedef struct {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DLTensor;

typedef struct {
    uint32_t major, minor;
    void *previous;
    void *allocate, *managed_from_object, *managed_to_object;
    int (*from_object)(void *object, DLTensor *out);
} DLPackAPI;

static const DLPackAPI *dlpack;
static PyTypeObject *tensor_type;

static int find_dlpack(void)
{
    PyObject *torch = PyImport_ImportModule("torch"), *capsule = NULL;
    PyObject *type = torch ? PyObject_GetAttrString(torch, "Tensor") : NULL;
    capsule = type ? PyObject_GetAttrString(type, "__dlpack_c_exchange_api__") : NULL;
    dlpack = capsule ? PyCapsule_GetPointer(capsule, "dlpack_exchange_api") : NULL;
    Py_XDECREF(torch);
    Py_XDECREF(capsule);
    if (!dlpack || dlpack->major != 1) {
        PyErr_SetString(PyExc_ImportError, "expected DLPack 1 in torch, found none; update torch");
        Py_XDECREF(type);
        return -1;
    }
    tensor_type = (PyTypeObject *)type; /* kept as long as the process */
    return 0;
}

/* Kinds of numbers; KIND_NONE also takes None for a tensor. */
enum {
    KIND_FLOAT32 = 1, KIND_BFLOAT16 = 2, KIND_FLOAT64 = 4, KIND_INT64 = 8, KIND_UINT8 = 16,
    KIND_BOOL = 32, KIND_INT16 = 64, KIND_NONE = 128
};

typedef struct {
    const char *name;
    void *data;
    int64_t count, ndim;
    const int64_t *shape, *strides; /* as long as the tensor */
    int kind; /* 0: None was given */
} Tensor;

static int kind_of(const DLTensor *tensor)
{
    int bits = tensor->bits;
    switch (tensor->lanes == 1 ? tensor->code : 255) {
    case 0: return bits == 64 ? KIND_INT64 : bits == 16 ? KIND_INT16 : 0;
    case 1: return bits == 8 ? KIND_UINT8 : 0;
    case 2: return bits == 32 ? KIND_FLOAT32 : bits == 64 ? KIND_FLOAT64 : 0;
    case 4: return bits == 16 ? KIND_BFLOAT16 : 0;
    case 6: return bits == 8 ? KIND_BOOL : 0;
    default: return 0;
    }
}

/* A tensor of one of the kinds, on the CPU, whose numbers lie without gaps in some order of its
 * dimensions; raises TypeError or ValueError. */
static int read_tensor(PyObject *object, const char *name, int kinds, Tensor *out)
{
    DLTensor tensor;
    memset(out, 0, sizeof *out);
    out->name = name;
    if (object == Py_None && kinds & KIND_NONE)
        return 0;
    if (!PyObject_TypeCheck(object, tensor_type)) {
        PyErr_Format(PyExc_TypeError, "%s: expected a tensor, found %s", name,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    if (dlpack->from_object(object, &tensor))
        return -1;
    out->kind = kind_of(&tensor);
    if (tensor.device_type != 1 || !(out->kind & kinds)) {
        PyErr_Format(PyExc_TypeError, "%s: expected another dtype or a tensor on the CPU; found "
                     "DLPack's type %d of %d bits on device %d", name, tensor.code, tensor.bits,
                     tensor.device_type);
        return -1;
    }
    int64_t last = 0;
    out->count = 1;
    for (int axis = 0; axis < tensor.ndim; axis++) {
        out->count *= tensor.shape[axis];
        last += (tensor.shape[axis] - 1) * tensor.strides[axis];
        if (tensor.strides[axis] < 0)
            last = -1 - INT32_MAX;
    }
    if (out->count && last != out->count - 1) {
        PyErr_Format(PyExc_ValueError, "%s: expected a tensor without gaps in memory; make it "
                     "contiguous", name);
        return -1;
    }
    out->data = (char *)tensor.data + tensor.byte_offset;
    out->ndim = tensor.ndim;
    out->shape = tensor.shape;
    out->strides = tensor.strides;
    return 0;
}

static int expect_count(const Tensor *tensor, int64_t count)
{
    if (!tensor->kind || tensor->count == count)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s: expected %lld numbers, found %lld", tensor->name,
                 (long long)count, (long long)tensor->count);
    return -1;
}

INLINE int expect_kind(const Tensor *tensor, const Tensor *as)
{
    if (!tensor->kind || tensor->kind == as->kind)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s: expected the dtype of %s", tensor->name, as->name);
    return -1;
}

static int expect(int holds, const char *message)
{
    if (!holds)
        PyErr_SetString(PyExc_ValueError, message);
    return holds ? 0 : -1;
}

#endif
