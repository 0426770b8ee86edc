// The Jungfrau conversion for OpenCL devices; jungfrau_reference.py says what it is.
//
// Compile-time: PIXEL (type of the result), IS_FLOAT and SPLIT as 0 or 1.

#pragma OPENCL FP_CONTRACT OFF

#define MISSING 0xFFFF
#define SATURATED 0xC000
#define ERROR 0x4000

// Order of the marks, the last of which fills gaps.
#define MASKED_MARK 0
#define MISSING_MARK 1
#define SATURATED_MARK 2
#define ERROR_MARK 3
#define GAP_MARK 4

static PIXEL in_type(float value, constant PIXEL *marks, float lowest, float highest)
{
    if (isnan(value)) return marks[MASKED_MARK];
#if IS_FLOAT
    return value;
#else
    float clipped = fmin(fmax(value, lowest), highest);
    int whole = (int)clipped;
    float rest = clipped - (float)whole;
    return (PIXEL)(whole + (int)(rest + rest));
#endif
}

// One work item per pixel as read. Counters: missing, saturated, error, invalid, G1, G2.
kernel void convert(global const ushort *raw, int size, global const float *pedestals, global const float *factors,
                    constant PIXEL *marks, float lowest, float highest, global PIXEL *values, global int *counters)
{
    int k = get_global_id(0);
    if (k >= size) return;
    ushort code = raw[k];
    int bits = code >> 14;
    if (code == MISSING) {
        values[k] = marks[MISSING_MARK];
        atomic_inc(&counters[0]);
        return;
    }
    if (isnan(factors[k])) {
        values[k] = marks[MASKED_MARK];
        return;
    }
    if (code == SATURATED) {
        values[k] = marks[SATURATED_MARK];
        atomic_inc(&counters[1]);
        return;
    }
    if (code == ERROR || bits == 2) {
        values[k] = marks[ERROR_MARK];
        atomic_inc(&counters[bits == 2 ? 3 : 2]);
        return;
    }
    int stage = bits == 3 ? 2 : bits;
    if (stage > 0) atomic_inc(&counters[3 + stage]);
    size_t place = (size_t)stage * size + k;
    values[k] = in_type(((float)(code & 0x3FFF) - pedestals[place]) * factors[place], marks, lowest, highest);
}

static bool is_mark(PIXEL value, constant PIXEL *marks)
{
    for (int m = 0; m < GAP_MARK; m++)
        if (value == marks[m]) return true;
    return false;
}

// What a pixel keeps, or a gap pixel gets, of a value that so many share.
static PIXEL shared(PIXEL value, int share, bool gap, constant PIXEL *marks)
{
    if (share == 1 || is_mark(value, marks)) return value;
    PIXEL part = value / (PIXEL)share;
#if IS_FLOAT
    return part;
#else
    return gap ? part : (PIXEL)(value - part * (share - 1));
#endif
}

// One work item per pixel of the image. Spread: bits 0-3 and 4-7 how many more pixels share the value across and down,
// bits 8 and 9 whether this is one of them.
kernel void place(global const PIXEL *values, int size, global const int *sources, global const ushort *spreads,
                  constant PIXEL *marks, global PIXEL *image)
{
    int k = get_global_id(0);
    if (k >= size) return;
    int source = sources[k];
    PIXEL value = source < 0 ? marks[GAP_MARK] : values[source];
#if SPLIT
    if (source >= 0) {
        ushort spread = spreads[k];
        value = shared(value, 1 + (spread & 15), spread >> 8 & 1, marks);
        value = shared(value, 1 + (spread >> 4 & 15), spread >> 9 & 1, marks);
    }
#endif
    image[k] = value;
}
