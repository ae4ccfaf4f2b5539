// Time on an NVIDIA card by kernel, of any program that uses CUDA: ours, and PyTorch beside it.
//
//   cuda=$(python -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1] / "nvidia/cu13")')
//   g++ -std=c++17 -O1 -shared -fPIC -I$cuda/include scripts/kernel_times.cpp -o libkernel_times.so $cuda/lib/libcupti.so.13
//   CUDA_INJECTION64_PATH=$PWD/libkernel_times.so KERNEL_TIMES=times.txt PROGRAM
//
// CUDA loads the library by itself. At the end it writes a line for each kernel, copy and fill: milliseconds, share of all,
// calls, name. The headers are those of the packages nvidia-cuda-runtime, nvidia-cuda-cupti and nvidia-cuda-crt.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cupti.h>
#include <cxxabi.h>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Sum {
    uint64_t nanoseconds = 0;
    uint64_t calls = 0;
};

// Never freed: CUPTI delivers records while the process ends.
std::map<std::string, Sum> &sums = *new std::map<std::string, Sum>;
std::mutex &lock = *new std::mutex;

void add(const std::string &name, uint64_t start, uint64_t end) {
    std::lock_guard<std::mutex> guard(lock);
    Sum &sum = sums[name];
    sum.nanoseconds += end - start;
    sum.calls++;
}

void CUPTIAPI buffer_requested(uint8_t **buffer, size_t *size, size_t *records) {
    *size = 8 << 20;
    *buffer = static_cast<uint8_t *>(std::aligned_alloc(8, *size));
    *records = 0;
}

void CUPTIAPI buffer_completed(CUcontext, uint32_t, uint8_t *buffer, size_t, size_t valid) {
    CUpti_Activity *record = nullptr;
    while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
            auto kernel = reinterpret_cast<CUpti_ActivityKernel10 *>(record);
            add(kernel->name ? kernel->name : "no name", kernel->start, kernel->end);
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
            auto copy = reinterpret_cast<CUpti_ActivityMemcpy6 *>(record);
            bool upload = copy->copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_HTOD;
            add(upload ? "copy from the host" : "other copy", copy->start, copy->end);
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
            auto fill = reinterpret_cast<CUpti_ActivityMemset4 *>(record);
            add("fill", fill->start, fill->end);
        }
    }
    std::free(buffer);
}

std::string readable(const std::string &name) {
    int status = 0;
    char *demangled = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
    std::string text = status == 0 ? demangled : name;
    std::free(demangled);
    return text;
}

void report() {
    cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    const char *path = std::getenv("KERNEL_TIMES");
    FILE *file = path ? std::fopen(path, "w") : stderr;
    if (!file) {
        std::fprintf(stderr, "cannot write %s\n", path);
        return;
    }
    std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
    std::sort(rows.begin(), rows.end(), [](auto &a, auto &b) { return a.second.nanoseconds > b.second.nanoseconds; });
    double total = 0;
    for (auto &row : rows) total += row.second.nanoseconds;
    std::fprintf(file, "%10.2f ms in all\n", total / 1e6);
    for (auto &[name, sum] : rows) {
        double share = 100 * sum.nanoseconds / total;
        std::fprintf(file, "%10.2f ms %5.1f%% %8llu %s\n", sum.nanoseconds / 1e6, share,
                     static_cast<unsigned long long>(sum.calls), readable(name).c_str());
    }
    if (path) std::fclose(file);
}

}  // namespace

extern "C" int InitializeInjection() {
    cuptiActivityRegisterCallbacks(buffer_requested, buffer_completed);
    for (auto kind : {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET}) {
        cuptiActivityEnable(kind);
    }
    std::atexit(report);
    return 1;
}
