// The SMX computations for OpenCL devices; smx_reference.py says what they are.
//
// Compile-time: PIXEL (type of raw pixels), NB_BINS, HEIGHT, WIDTH, HALF (of the patch), GROUP (work items that share a
// bin), MODEL (one of the four below), and HAS_DARK, HAS_NORM, HAS_SHARE, HAS_FIXED, HAS_DUMMY, WITH_DOUBLE as 0 or 1.

#pragma OPENCL FP_CONTRACT OFF

#define NO_VAR 0
#define COUNTING 1  // the variance of a pixel is known: poisson, or a map
#define AZIMUTHAL 2
#define HYBRID 3

#if WITH_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double real;
#else
typedef float real;
#endif

// Deviations below this share of the average are rounding of float32, and clip nothing.
#define SMALLEST_DEVIATION ((real)1e-6f)

typedef struct {
    real count, weight, value, square, first, second;
} Sums;

// NAN where a pixel is left out of this frame.
static float value_of(PIXEL pixel, float dark, float norm, float dummy, float delta)
{
    float raw = (float)pixel;
    if (!isfinite(raw)) return NAN;
#if HAS_DUMMY
    if (fabs(raw - dummy) <= delta) return NAN;
#endif
#if HAS_DARK
    raw -= dark;
#endif
#if HAS_NORM
    raw /= norm;
#endif
    return raw;
}

// Values, and their variances where the model needs them, in the order of the bins: later passes then read in a row.
kernel void gather(global const PIXEL *image, global const int *indices, int nb_entries, global const float *dark,
                   global const float *norm, global const float *share, global const float *fixed_variance,
                   float dummy, float delta, int poisson, global float *values, global float *variances)
{
    int e = get_global_id(0);
    if (e >= nb_entries) return;
    PIXEL pixel = image[indices[e]];
    values[e] = value_of(pixel, HAS_DARK ? dark[e] : 0.0f, HAS_NORM ? norm[e] : 1.0f, dummy, delta);
#if MODEL == COUNTING || MODEL == HYBRID
    float variance = poisson ? fmax((float)pixel, 1.0f) : 0.0f;
#if HAS_FIXED
    variance += fixed_variance[e];
#endif
#if HAS_SHARE
    variance *= share[e] * share[e];
#endif
    variances[e] = variance;
#endif
}

// Sums over the entries of a bin with values from lowest to highest; all work items of the group get them.
static Sums moments(global const float *values, global const float *variances, global const float *norm,
                    global const float *share, int begin, int end, real lowest, real highest, real shift, int azimuthal,
                    local Sums *part)
{
    int me = get_local_id(0);
    Sums sums = {0, 0, 0, 0, 0, 0};
    for (int e = begin + me; e < end; e += GROUP) {
        real value = values[e];
        if (!(value >= lowest && value <= highest)) continue;
        real weight = (HAS_NORM ? norm[e] : 1.0f);
        if (HAS_SHARE) weight *= share[e];
        real off = value - shift, square = weight * weight;
        sums.count += 1;
        sums.weight += weight;
        sums.value += weight * off;
        sums.square += square;
#if MODEL == AZIMUTHAL || MODEL == HYBRID
        if (azimuthal) {
            sums.first += square * off;
            sums.second += square * off * off;
        }
#endif
#if MODEL == COUNTING || MODEL == HYBRID
        if (!azimuthal) sums.second += variances[e];
#endif
    }
    part[me] = sums;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_group = GROUP / 2; half_group > 0; half_group /= 2) {
        if (me < half_group) {
            part[me].count += part[me + half_group].count;
            part[me].weight += part[me + half_group].weight;
            part[me].value += part[me + half_group].value;
            part[me].square += part[me + half_group].square;
            part[me].first += part[me + half_group].first;
            part[me].second += part[me + half_group].second;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    sums = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sums;
}

static real deviation_of(Sums sums, int azimuthal)
{
    if (MODEL == NO_VAR) return 0;
    real step = sums.value / sums.weight;  // from the shift to the average
    real total = azimuthal ? sums.second - 2 * step * sums.first + step * step * sums.square : sums.second;
    return sqrt(fmax(total, (real)0) / sums.square);
}

// One group per bin: average and deviation of what is left after clipping. `entries` counts left-out pixels, too.
// `part` has room for GROUP sums. It comes from the host because PoCL 3 lets all its threads share a local array that
// is declared here: it looks for local arrays in kernels alone, and once LLVM has put the only address that `moments`
// is ever called with into `moments` itself, none is seen.
kernel void clip(global const float *values, global const float *variances, global const float *norm,
                 global const float *share, global const int *begins, global const int *entries, float cutoff, int cycle,
                 global float *averages, global float *deviations, global int *counters, local Sums *part)
{
    int bin = get_group_id(0), begin = begins[bin], end = begins[bin + 1];
    const int azimuthal = MODEL == AZIMUTHAL || MODEL == HYBRID;
    real lowest = -FLT_MAX, highest = FLT_MAX, shift = 0;
    Sums sums = moments(values, variances, norm, share, begin, end, lowest, highest, shift, azimuthal, part);
    int left = entries[bin], empty = !(sums.weight > 0);
    if (azimuthal && !empty) {  // squares around the average lose no digits
        shift = sums.value / sums.weight;
        sums = moments(values, variances, norm, share, begin, end, lowest, highest, shift, azimuthal, part);
    }
    for (int turn = 0; turn < cycle && !empty; turn++) {
        real average = shift + sums.value / sums.weight, deviation = deviation_of(sums, azimuthal);
        if (!(deviation > SMALLEST_DEVIATION * fabs(average))) break;
        float chauvenet = sqrt(2 * log(max(left, 3) / 2.5066282746310002f));
        real width = fmax(cutoff, chauvenet) * deviation;
        lowest = fmax(lowest, average - width);
        highest = fmin(highest, average + width);
        real before = sums.count;
        shift = average;
        sums = moments(values, variances, norm, share, begin, end, lowest, highest, shift, azimuthal, part);
        empty = !(sums.weight > 0);
        if (sums.count == before) break;
        left -= (int)(before - sums.count);
    }
    int last = azimuthal;
    if (MODEL == HYBRID && !empty) {
        last = 0;
        sums = moments(values, variances, norm, share, begin, end, lowest, highest, shift, last, part);
    }
    if (get_global_id(0) == 0) counters[0] = counters[1] = 0;  // for `find`
    if (get_local_id(0) == 0) {
        averages[bin] = empty ? NAN : (float)(shift + sums.value / sums.weight);
        deviations[bin] = empty ? NAN : (float)deviation_of(sums, last);
    }
}

// What of a pixel stands above the background, and its deviation with noise; (-INFINITY, noise) where none is looked for.
static float2 above(int i, global const PIXEL *image, global const float *position, global const float *dark,
                    global const float *norm, float dummy, float delta, global const float *averages,
                    global const float *deviations, float noise)
{
    float place = position[i];
    if (isnan(place)) return (float2)(-INFINITY, noise);
    int lower = (int)place, upper = min(lower + 1, NB_BINS - 1);
    float share = place - (float)lower;
    float level = averages[lower] * (1.0f - share) + averages[upper] * share;
    float width = deviations[lower] * (1.0f - share) + deviations[upper] * share;
    float value = value_of(image[i], HAS_DARK ? dark[i] : 0.0f, HAS_NORM ? norm[i] : 1.0f, dummy, delta);
    return (float2)(isfinite(value) ? value - level : 0.0f, sqrt(width * width + noise * noise));
}

#define MAPS                                                                                                        \
    global const PIXEL *image, global const float *position, global const float *dark, global const float *norm,    \
        float dummy, float delta, global const float *averages, global const float *deviations, float noise
#define ABOVE(i) above(i, image, position, dark, norm, dummy, delta, averages, deviations, noise)

// Places of intense pixels, and of pixels that may be the top of a spot, in no order; counters = how many of each.
kernel void find(MAPS, float cutoff_pick, float cutoff_peak, global int *picked, global int *tops, global int *counters)
{
    int i = get_global_id(0);
    if (i >= HEIGHT * WIDTH) return;
    float2 here = ABOVE(i);
    if (here.x > fmax(noise, cutoff_pick * here.y)) picked[atomic_inc(counters)] = i;
    int y = i / WIDTH, x = i - y * WIDTH;
    if (here.x > 0.0f && here.x >= cutoff_peak * here.y && y >= HALF && x >= HALF && y < HEIGHT - HALF &&
        x < WIDTH - HALF)
        tops[atomic_inc(counters + 1)] = i;
}

// Centre (y, x), intensity and deviation of the spot around each top, and its size: 0 for no spot.
kernel void describe(MAPS, float cutoff_peak, int connected, global const int *tops, int nb_tops, global float4 *spots,
                     global int *sizes)
{
    int number = get_global_id(0);
    if (number >= nb_tops) return;
    int i = tops[number], size = 0;
    float top = ABOVE(i).x;
    real total = 0, squares = 0, moment_y = 0, moment_x = 0;
    for (int dy = -HALF; dy <= HALF; dy++)
        for (int dx = -HALF; dx <= HALF; dx++) {
            float2 near = ABOVE(i + dy * WIDTH + dx);
            if (near.x > 0.0f) {
                if (near.x > top) connected = INT_MAX;
                if (near.x >= cutoff_peak * near.y) size++;
                total += near.x;
                moment_y += dy * (real)near.x;
                moment_x += dx * (real)near.x;
                squares += (real)near.y * near.y;
            } else if (near.y <= 0.0f)
                connected = INT_MAX;
        }
    int y = i / WIDTH, x = i - y * WIDTH;
    spots[number] = (float4)((float)(y + moment_y / total), (float)(x + moment_x / total), (float)total,
                             (float)sqrt(squares));
    sizes[number] = size >= connected ? size : 0;
}
