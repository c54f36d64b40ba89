// tflite_micro.cc: runs a model with TFLite Micro. tflite_micro.py writes model.h, with the model and what it needs.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <new>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/kernels/fully_connected.h"
#include "tensorflow/lite/micro/kernels/softmax.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

#include "model.h"  // model[], NUM_OPERATORS, ADD_OPERATORS, ARENA

using Resolver = tflite::MicroMutableOpResolver<NUM_OPERATORS>;

alignas(16) static uint8_t arena[ARENA];
alignas(Resolver) static uint8_t resolver_memory[sizeof(Resolver)];
alignas(tflite::MicroInterpreter) static uint8_t interpreter_memory[sizeof(tflite::MicroInterpreter)];
static tflite::MicroInterpreter *interpreter;

extern "C" void DebugLog(const char *, va_list) {}
extern "C" int DebugVsnprintf(char *, size_t, const char *, va_list) { return 0; }

// Returns whether the arena is large enough.
static bool prepare(size_t arena_size)
{
    Resolver *resolver = new (resolver_memory) Resolver;
    ADD_OPERATORS
    interpreter = new (interpreter_memory) tflite::MicroInterpreter(tflite::GetModel(model), *resolver, arena, arena_size);
    return interpreter->AllocateTensors() == kTfLiteOk;
}

extern "C" unsigned setup(void)
{
#if defined(FIND_ARENA) // while it prepares itself it may need more than it uses at the end; with far too little it crashes
    prepare(ARENA);
    for (size_t size = interpreter->arena_used_bytes() / 16 * 16; size < ARENA; size += 16) {
        if (prepare(size)) {
            return size;
        }
    }
#endif
    return prepare(ARENA) ? ARENA : 0;
}

extern "C" void predict(const void *in, void *out)
{
    TfLiteTensor *input = interpreter->input(0), *output = interpreter->output(0);
    memcpy(input->data.raw, in, input->bytes);
    interpreter->Invoke();
    memcpy(out, output->data.raw, output->bytes);
}
