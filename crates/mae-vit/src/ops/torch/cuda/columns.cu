// Gradients of the outputs of bf16 products, and the sums of their columns, which are the gradients of biases. A block handles
// 256 columns, a thread eight of them in every eighth row of the block. Each block writes partial sums: parts
// [gridDim.y, columns]. The number of columns is a multiple of 8.

#define ROWS 8
#define LANES 32

// Adds up the sums of a block's threads and writes them.
__device__ void write_sums(float (&sums)[8], float *parts, int columns) {
    __shared__ float all[ROWS][8 * LANES];
    for (int i = 0; i < 8; i++) all[threadIdx.y][8 * threadIdx.x + i] = sums[i];
    __syncthreads();
    // A block has as many threads as columns.
    int mine = LANES * threadIdx.y + threadIdx.x;
    float total = 0;
    for (int row = 0; row < ROWS; row++) total += all[row][mine];
    int at = blockIdx.x * 8 * LANES + mine;
    if (at < columns) parts[(long long)blockIdx.y * columns + at] = total;
}

// Rounds f32 [rows, columns] to bf16, and sums the columns.
extern "C" __global__ void __launch_bounds__(ROWS * LANES)
    rounded(const float4 *__restrict__ x, uint4 *__restrict__ out, float *__restrict__ parts, long long rows, int columns) {
    int column = 8 * (blockIdx.x * LANES + threadIdx.x);
    float sums[8] = {};
    if (column < columns) {
        for (long long row = blockIdx.y * ROWS + threadIdx.y; row < rows; row += gridDim.y * ROWS) {
            long long at = (row * columns + column) / 8;
            float4 a = x[2 * at], b = x[2 * at + 1];
            out[at] = {pack(a.x, a.y), pack(a.z, a.w), pack(b.x, b.y), pack(b.z, b.w)};
            float numbers[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
            for (int i = 0; i < 8; i++) sums[i] += numbers[i];
        }
    }
    write_sums(sums, parts, columns);
}

// f32 x + bf16 y, eight values per thread.
extern "C" __global__ void __launch_bounds__(ROWS * LANES)
    add(const float4 *__restrict__ x, const uint4 *__restrict__ y, float4 *__restrict__ out, long long eights) {
    long long at = (long long)blockIdx.x * ROWS * LANES + LANES * threadIdx.y + threadIdx.x;
    if (at >= eights) return;
    float4 a = x[2 * at], b = x[2 * at + 1];
    uint4 v = y[at];
    out[2 * at] = {a.x + low(v.x), a.y + high(v.x), a.z + low(v.y), a.w + high(v.y)};
    out[2 * at + 1] = {b.x + low(v.z), b.y + high(v.z), b.z + low(v.w), b.w + high(v.w)};
}

// The cumulative normal distribution at x. Sets `bell` to exp(-x^2 / 2), a factor of it.
//
// Source: Abramowitz and Stegun, 7.1.26; the error is at most 1e-7.
__device__ float normal(float x, float &bell) {
    bell = __expf(-0.5f * x * x);
    float t = __fdividef(1, 1 + 0.3275911f * 0.70710678f * fabsf(x));
    float polynomial = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    float tail = 0.5f * polynomial * bell;
    return x > 0 ? 1 - tail : tail;
}

__device__ float exact_gelu(float x) {
    float bell;
    return x * normal(x, bell);
}

// The derivative of GELU: the cumulative normal distribution, plus x times its density.
__device__ float slope(float x) {
    float bell;
    float below = normal(x, bell);
    return below + x * 0.39894228f * bell;
}

__device__ unsigned gelu_pair(unsigned x) { return pack(exact_gelu(low(x)), exact_gelu(high(x))); }

// The exact GELU of bf16 values, eight per thread.
extern "C" __global__ void __launch_bounds__(ROWS * LANES)
    gelu(const uint4 *__restrict__ x, uint4 *__restrict__ out, long long eights) {
    long long at = (long long)blockIdx.x * ROWS * LANES + LANES * threadIdx.y + threadIdx.x;
    if (at >= eights) return;
    uint4 v = x[at];
    out[at] = {gelu_pair(v.x), gelu_pair(v.y), gelu_pair(v.z), gelu_pair(v.w)};
}

__device__ unsigned times_slope(unsigned grad, unsigned x, float &sum_low, float &sum_high) {
    unsigned out = pack(low(grad) * slope(low(x)), high(grad) * slope(high(x)));
    sum_low += low(out);
    sum_high += high(out);
    return out;
}

// The gradient of GELU's input x, given the gradient of its output; all are [rows, columns] in bf16. Sums the columns too.
extern "C" __global__ void __launch_bounds__(ROWS * LANES) gelu_backward(
    const uint4 *__restrict__ grad, const uint4 *__restrict__ x, uint4 *__restrict__ out, float *__restrict__ parts,
    long long rows, int columns
) {
    int column = 8 * (blockIdx.x * LANES + threadIdx.x);
    float sums[8] = {};
    if (column < columns) {
        for (long long row = blockIdx.y * ROWS + threadIdx.y; row < rows; row += gridDim.y * ROWS) {
            long long at = (row * columns + column) / 8;
            uint4 g = grad[at], v = x[at];
            out[at] = {
                times_slope(g.x, v.x, sums[0], sums[1]), times_slope(g.y, v.y, sums[2], sums[3]),
                times_slope(g.z, v.z, sums[4], sums[5]), times_slope(g.w, v.w, sums[6], sums[7])
            };
        }
    }
    write_sums(sums, parts, columns);
}

// Only the sums of the columns of x [rows, columns] in bf16.
extern "C" __global__ void __launch_bounds__(ROWS * LANES) column_sums(
    const uint4 *__restrict__ x, float *__restrict__ parts, long long rows, int columns
) {
    int column = 8 * (blockIdx.x * LANES + threadIdx.x);
    float sums[8] = {};
    if (column < columns) {
        for (long long row = blockIdx.y * ROWS + threadIdx.y; row < rows; row += gridDim.y * ROWS) {
            uint4 v = x[(row * columns + column) / 8];
            unsigned pairs[4] = {v.x, v.y, v.z, v.w};
            for (int i = 0; i < 4; i++) {
                sums[2 * i] += low(pairs[i]);
                sums[2 * i + 1] += high(pairs[i]);
            }
        }
    }
    write_sums(sums, parts, columns);
}

// Adds up partial sums [count, columns] -> out [columns], in a fixed order.
extern "C" __global__ void __launch_bounds__(ROWS * LANES)
    add_parts(const float *__restrict__ parts, float *__restrict__ out, int count, int columns) {
    __shared__ float all[ROWS][LANES];
    int column = blockIdx.x * LANES + threadIdx.x;
    float sum = 0;
    if (column < columns) {
        for (int part = threadIdx.y; part < count; part += ROWS) sum += parts[(long long)part * columns + column];
    }
    all[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int row = 1; row < ROWS; row++) sum += all[row][threadIdx.x];
    out[column] = sum;
}
