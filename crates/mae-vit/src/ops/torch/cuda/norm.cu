// Layer normalisation of f32 rows to bf16, and its backward pass. Compiled for a WIDTH, the length of a row, a multiple of 4.
// A warp handles a row. A lane holds every 32nd group of four values of the row in registers.

#define WARPS 8
#define GROUPS (WIDTH / 4)
#define EACH ((GROUPS + 31) / 32)

#define FOR_EACH_GROUP                                                                                                 \
    _Pragma("unroll") for (int i = 0; i < EACH; i++) if (int group = lane + 32 * i; group < GROUPS)

__device__ float warp_sum(float x) {
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

__device__ float sum(float4 x) { return (x.x + x.y) + (x.z + x.w); }

__device__ float4 operator*(float4 a, float4 b) { return {a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w}; }

__device__ float4 operator*(float4 a, float b) { return {a.x * b, a.y * b, a.z * b, a.w * b}; }

__device__ float4 operator+(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

__device__ float4 operator-(float4 a, float b) { return {a.x - b, a.y - b, a.z - b, a.w - b}; }

__device__ float4 operator-(float4 a, float4 b) { return {a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w}; }

// Normalises x [rows, WIDTH] to `out` in bf16. Writes mean and rstd [rows] for the backward pass.
extern "C" __global__ void __launch_bounds__(32 * WARPS) norm_forward(
    const float4 *__restrict__ x, const float4 *__restrict__ weight, const float4 *__restrict__ bias,
    uint2 *__restrict__ out, float *__restrict__ mean, float *__restrict__ rstd, long long rows, float eps
) {
    int lane = threadIdx.x % 32;
    long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= rows) return;
    float4 numbers[EACH];
    float total = 0;
    FOR_EACH_GROUP {
        numbers[i] = x[row * GROUPS + group];
        total += sum(numbers[i]);
    }
    float m = warp_sum(total) / WIDTH;
    float squares = 0;
    FOR_EACH_GROUP {
        numbers[i] = numbers[i] - m;
        squares += sum(numbers[i] * numbers[i]);
    }
    float r = rsqrtf(warp_sum(squares) / WIDTH + eps);
    FOR_EACH_GROUP {
        float4 y = numbers[i] * r * weight[group] + bias[group];
        out[row * GROUPS + group] = {pack(y.x, y.y), pack(y.z, y.w)};
    }
    if (lane == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
}

// The gradient of x. Adds `past` [rows / len, queries, WIDTH], the gradient that bypasses the norm, to the last `queries` of
// every `len` rows. Each block writes its partial gradients of weight and bias: parts [blocks, 2, WIDTH].
extern "C" __global__ void __launch_bounds__(32 * WARPS) norm_backward(
    const uint2 *__restrict__ grad, const float4 *__restrict__ x, const float *__restrict__ mean,
    const float *__restrict__ rstd, const float4 *__restrict__ weight, const float4 *__restrict__ past,
    float4 *__restrict__ x_grad, float4 *__restrict__ parts, long long rows, int len, int queries
) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float4 weight_grad[EACH] = {}, bias_grad[EACH] = {};
    for (long long row = (long long)blockIdx.x * WARPS + warp; row < rows; row += (long long)gridDim.x * WARPS) {
        float m = mean[row], r = rstd[row];
        float4 normed[EACH], scaled[EACH];
        float along_one = 0, along_x = 0;
        FOR_EACH_GROUP {
            normed[i] = (x[row * GROUPS + group] - m) * r;
            uint2 pairs = grad[row * GROUPS + group];
            float4 g = {low(pairs.x), high(pairs.x), low(pairs.y), high(pairs.y)};
            weight_grad[i] = weight_grad[i] + g * normed[i];
            bias_grad[i] = bias_grad[i] + g;
            scaled[i] = g * weight[group];
            along_one += sum(scaled[i]);
            along_x += sum(scaled[i] * normed[i]);
        }
        along_one = warp_sum(along_one) / WIDTH;
        along_x = warp_sum(along_x) / WIDTH;
        int place = (int)(row % len) - (len - queries);
        const float4 *passed = past + (row / len * queries + place) * GROUPS;
        FOR_EACH_GROUP {
            float4 g = (scaled[i] - along_one - normed[i] * along_x) * r;
            if (place >= 0) g = g + passed[group];
            x_grad[row * GROUPS + group] = g;
        }
    }
    __shared__ float4 sums[2 * GROUPS];
    for (int turn = 0; turn < WARPS; turn++) {
        if (warp == turn) {
            FOR_EACH_GROUP {
                sums[group] = turn == 0 ? weight_grad[i] : sums[group] + weight_grad[i];
                sums[GROUPS + group] = turn == 0 ? bias_grad[i] : sums[GROUPS + group] + bias_grad[i];
            }
        }
        __syncthreads();
    }
    for (int i = threadIdx.x; i < 2 * GROUPS; i += 32 * WARPS) parts[(long long)blockIdx.x * 2 * GROUPS + i] = sums[i];
}
