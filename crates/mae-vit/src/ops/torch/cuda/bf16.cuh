// bf16 without a header of the CUDA toolkit, which users need not have: two numbers in 32 bits.

__device__ float low(unsigned pair) { return __uint_as_float(pair << 16); }

__device__ float high(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// Rounds to the nearest, ties to even.
__device__ unsigned pack(float low, float high) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
