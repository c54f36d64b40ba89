/* tiny_impl.h: gradient descent for networks and batches that fit into the first-level cache, such as 2-2-1 on 4 samples. Included by
 * kernels_impl.h, and on its own where vectors of 4 suit fewer samples.
 *
 * The samples lie in the lanes of the vectors, so that nothing is padded but the samples, and a unit is one vector or a few. What
 * is computed, and in which order, is what the big kernels compute. */

/* Of the functions that nn_is_tiny lets through: each of the others would be here some ten times, for nobody. */
NN_INLINE V tiny_activate(int function, V z)
{
    switch (function) {
    case NN_SIGMOID: return activate(NN_SIGMOID, z);
    case NN_TANH: return activate(NN_TANH, z);
    case NN_RELU: return activate(NN_RELU, z);
    default: return z;
    }
}

NN_INLINE V tiny_derivative(int function, V a)
{
    switch (function) {
    case NN_SIGMOID: return derivative(NN_SIGMOID, a);
    case NN_TANH: return derivative(NN_TANH, a);
    case NN_RELU: return derivative(NN_RELU, a);
    default: return v_set(1.0f);
    }
}

/* z_j = b_j + sum over k of a_k w_kj, then f. */
NN_INLINE void tiny_forward(const NNTiny *tiny, size_t l, size_t stride)
{
    Matrix w = tiny->nn.weights[l];
    const float *a = tiny->activations[l], *bias = tiny->nn.biases[l].data;
    int function = tiny->nn.activation_functions[l];
    for (size_t j = 0; j < w.cols; j++) {
        float *out = tiny->activations[l + 1] + j * stride;
        for (size_t s = 0; s < stride; s += VL) {
            V z = v_set(bias[j]);
            for (size_t k = 0; k < w.rows; k++) {
                z = v_fma(v_load(a + k * stride + s), v_set(w.data[k * w.cols + j]), z);
            }
            v_store(out + s, tiny_activate(function, z));
        }
    }
}

/* The delta of the outputs: (a - y) scale f'(a). */
NN_INLINE void tiny_output(const NNTiny *tiny, size_t stride)
{
    size_t last = tiny->nn.num_layers, size = tiny->nn.archi[last] * stride;
    const float *a = tiny->activations[last];
    int function = tiny->nn.activation_functions[last - 1];
    for (size_t s = 0; s < size; s += VL) {
        V x = v_load(a + s), d = v_mul(v_sub(x, v_load(tiny->targets + s)), v_set(tiny->scale));
        v_store(tiny->deltas[last] + s, v_mul(d, tiny_derivative(function, x)));
    }
}

/* d_k = (sum over j of e_j w_kj) f'(a_k), from the deltas e of the next layer. */
NN_INLINE void tiny_delta(const NNTiny *tiny, size_t l, size_t stride)
{
    Matrix w = tiny->nn.weights[l];
    const float *e = tiny->deltas[l + 1], *a = tiny->activations[l];
    int function = tiny->nn.activation_functions[l - 1];
    for (size_t k = 0; k < w.rows; k++) {
        for (size_t s = 0; s < stride; s += VL) {
            V d = v_set(0.0f);
            for (size_t j = 0; j < w.cols; j++) {
                d = v_fma(v_load(e + j * stride + s), v_set(w.data[k * w.cols + j]), d);
            }
            v_store(tiny->deltas[l] + k * stride + s, v_mul(d, tiny_derivative(function, v_load(a + k * stride + s))));
        }
    }
}

/* w_kj = w_kj + sum over the samples of a_k d_j; b_j = b_j + sum of d_j. One number at a time: each is a chain of its own. */
NN_INLINE void tiny_update(const NNTiny *tiny, size_t l, size_t stride, size_t num_samples)
{
    Matrix w = tiny->nn.weights[l];
    float *bias = tiny->nn.biases[l].data;
    for (size_t j = 0; j < w.cols; j++) {
        const float *d = tiny->deltas[l + 1] + j * stride;
        float sum = 0.0f;
        for (size_t k = 0; k < w.rows; k++) {
            const float *a = tiny->activations[l] + k * stride;
            float product = 0.0f;
            for (size_t i = 0; i < num_samples; i++) {
                product = fmaf(a[i], d[i], product);
            }
            w.data[k * w.cols + j] += product;
        }
        for (size_t i = 0; i < num_samples; i++) {
            sum += d[i];
        }
        bias[j] += sum;
    }
}

/* stride and num_samples are passed on because they are constants where few samples fill one vector. */
NN_INLINE void tiny_iterate(const NNTiny *tiny, size_t iterations, size_t stride, size_t num_samples)
{
    size_t num_layers = tiny->nn.num_layers;
    for (size_t it = 0; it < iterations; it++) {
        for (size_t l = 0; l < num_layers; l++) {
            tiny_forward(tiny, l, stride);
        }
        tiny_output(tiny, stride);
        for (size_t l = num_layers - 1; l > 0; l--) {
            tiny_delta(tiny, l, stride);
        }
        for (size_t l = 0; l < num_layers; l++) {
            tiny_update(tiny, l, stride, num_samples);
        }
    }
}

static void descend_tiny(const NNTiny *tiny, size_t iterations)
{
    if (tiny->stride == VL && tiny->num_samples == VL) {
        tiny_iterate(tiny, iterations, VL, VL);
    } else {
        tiny_iterate(tiny, iterations, tiny->stride, tiny->num_samples);
    }
}
