// classify.cpp: prints the kind of an iris and the probability of it: classify_cpp 5.1 3.5 1.4 0.2
#include <array>
#include <cstdlib>
#include <iostream>

#include "iris.h"

namespace {

std::array<float, IRIS_NUM_OUTPUTS> predict(const std::array<float, IRIS_NUM_INPUTS> &in)
{
    std::array<float, IRIS_NUM_OUTPUTS> out;
    iris_predict(in.data(), out.data());
    return out;
}

} // namespace

int main(int argc, char **argv)
{
    std::array<float, IRIS_NUM_INPUTS> in;
    if (argc != 1 + IRIS_NUM_INPUTS) {
        std::cerr << "expected " << IRIS_NUM_INPUTS << " numbers, got " << argc - 1 << "\n";
        return 1;
    }
    for (std::size_t i = 0; i < in.size(); i++) {
        in[i] = std::strtof(argv[1 + i], nullptr);
    }
    const int kind = iris_classify(in.data());
    std::cout << iris_class_name(kind) << " " << predict(in)[static_cast<std::size_t>(kind)] << "\n";
    return 0;
}
