/* tiny_impl.h: full-batch gradient descent on the squared error for networks and batches that fit into the first-level cache, such
 * as 2-2-1 neurons on 4 samples. Included by kernels_impl.h, and by avx2_128.c, where vectors of 4 suit fewer samples.
 *
 * The lanes of a vector hold samples: the activations of one neuron are one vector or a few, and only the number of samples is
 * padded. The formulas and the order of sums are those of kernels.h. */

/* activate() of activations.h, with only those activation functions that tiny networks may have (see nn_is_tiny): the others would
 * make the machine code longer. */
NN_INLINE V tiny_activate(int activation, V z)
{
    switch (activation) {
    case NN_SIGMOID: return activate(NN_SIGMOID, z);
    case NN_TANH: return activate(NN_TANH, z);
    case NN_RELU: return activate(NN_RELU, z);
    default: return z;
    }
}

/* derivative() of activations.h, with the same restriction. */
NN_INLINE V tiny_derivative(int activation, V a)
{
    switch (activation) {
    case NN_SIGMOID: return derivative(NN_SIGMOID, a);
    case NN_TANH: return derivative(NN_TANH, a);
    case NN_RELU: return derivative(NN_RELU, a);
    default: return v_set(1.0f);
    }
}

/* The forward pass through layer l: z_j = b_j + sum over k of a_k w_kj, a'_j = f(z_j). */
NN_INLINE void tiny_forward(const NNTinyTraining *t, size_t l, size_t stride)
{
    Matrix w = t->nn.weights[l];
    const float *a = t->activations[l], *bias = t->nn.biases[l].data;
    int activation = t->nn.activation_functions[l];
    for (size_t j = 0; j < w.cols; j++) {
        float *out = t->activations[l + 1] + j * stride;
        for (size_t s = 0; s < stride; s += VL) {
            V z = v_set(bias[j]);
            for (size_t k = 0; k < w.rows; k++) {
                z = v_fma(v_load(a + k * stride + s), v_set(w.data[k * w.cols + j]), z);
            }
            v_store(out + s, tiny_activate(activation, z));
        }
    }
}

/* The delta of the last layer: (a - y) delta_scale f'(z). */
NN_INLINE void tiny_output_delta(const NNTinyTraining *t, size_t stride)
{
    size_t last = t->nn.num_layers, size = t->nn.archi[last] * stride;
    const float *a = t->activations[last];
    int activation = t->nn.activation_functions[last - 1];
    for (size_t s = 0; s < size; s += VL) {
        V x = v_load(a + s), delta = v_mul(v_sub(x, v_load(t->targets + s)), v_set(t->delta_scale));
        v_store(t->deltas[last] + s, v_mul(delta, tiny_derivative(activation, x)));
    }
}

/* The backward pass through layer l: delta_k = (sum over j of delta'_j w_kj) f'(z_k), with delta' of the next layer. */
NN_INLINE void tiny_backward(const NNTinyTraining *t, size_t l, size_t stride)
{
    Matrix w = t->nn.weights[l];
    const float *next_delta = t->deltas[l + 1], *a = t->activations[l];
    int activation = t->nn.activation_functions[l - 1];
    for (size_t k = 0; k < w.rows; k++) {
        for (size_t s = 0; s < stride; s += VL) {
            V delta = v_set(0.0f);
            for (size_t j = 0; j < w.cols; j++) {
                delta = v_fma(v_load(next_delta + j * stride + s), v_set(w.data[k * w.cols + j]), delta);
            }
            v_store(t->deltas[l] + k * stride + s, v_mul(delta, tiny_derivative(activation, v_load(a + k * stride + s))));
        }
    }
}

/* The parameter update of layer l: w_kj += sum over the samples of a_k delta_j, b_j += sum of delta_j (delta_scale contains
 * -learning_rate). Scalar code: the sum over the samples is one chain, and the samples lie along the vectors. */
NN_INLINE void tiny_update(const NNTinyTraining *t, size_t l, size_t stride, size_t num_samples)
{
    Matrix w = t->nn.weights[l];
    float *bias = t->nn.biases[l].data;
    for (size_t j = 0; j < w.cols; j++) {
        const float *delta = t->deltas[l + 1] + j * stride;
        float bias_sum = 0.0f;
        for (size_t k = 0; k < w.rows; k++) {
            const float *a = t->activations[l] + k * stride;
            float weight_sum = 0.0f;
            for (size_t i = 0; i < num_samples; i++) {
                weight_sum = nn_fmaf(a[i], delta[i], weight_sum);
            }
            w.data[k * w.cols + j] += weight_sum;
        }
        for (size_t i = 0; i < num_samples; i++) {
            bias_sum += delta[i];
        }
        bias[j] += bias_sum;
    }
}

/* Full-batch gradient descent. stride and num_samples are arguments so that they can be compile-time constants. */
NN_INLINE void tiny_iterations(const NNTinyTraining *t, size_t iterations, size_t stride, size_t num_samples)
{
    size_t num_layers = t->nn.num_layers;
    for (size_t it = 0; it < iterations; it++) {
        for (size_t l = 0; l < num_layers; l++) {
            tiny_forward(t, l, stride);
        }
        tiny_output_delta(t, stride);
        for (size_t l = num_layers - 1; l > 0; l--) {
            tiny_backward(t, l, stride);
        }
        for (size_t l = 0; l < num_layers; l++) {
            tiny_update(t, l, stride, num_samples);
        }
    }
}

static void train_tiny(const NNTinyTraining *training, size_t iterations)
{
    if (training->stride == VL && training->num_samples == VL) {
        tiny_iterations(training, iterations, VL, VL);
    } else {
        tiny_iterations(training, iterations, training->stride, training->num_samples);
    }
}
