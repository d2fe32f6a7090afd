"""C source of ``_emerg_compiled``: attention with its first two derivatives, some nodes at a time.

The equations are those of ``_emerg_attention``. What lies between them (keys, values, scores,
shares) is computed anew for every block of nodes, in a work space that a processor's cache holds,
and never written to memory. As text in a module it is part of a wheel, and of the code that a
stored result is known by, like all other code.
"""

SOURCE = r"""
/* All arrays are float32 and contiguous; the nodes are the innermost axis. Shape letters: n nodes,
   d SIZE, h HEADS, l layers, a ORDERS that ask (l + 1), o those that are asked (all but order 0,
   from which they are taken), r the rows (both, h, d) of the matrix that makes keys and values.
   `fields` is [d, n], `messages` [l, d, n]. */

#include <string.h>

enum { D = SIZE, H = HEADS, A = ORDERS, O = ORDERS - 1, LANES = 8 };
enum { HALF = H * D, ROWS = 2 * HALF, WIDE = (D + LANES - 1) / LANES * LANES };
/* Nodes of a block, and numbers of all that are asked. */
enum { B = NODES, DB = D * B, OB = O * B, AB = A * B };

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int Whole __attribute__((vector_size(4 * LANES)));
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define AT(pointer) (*(Lanes *)(pointer))

INLINE Lanes pick(Whole where, Lanes yes, Lanes no) {
    return (Lanes)((where & (Whole)yes) | (~where & (Whole)no));
}

/* e to the x, to 2 units in the last place; x is at most 0. What is no number stays none. */
INLINE Lanes exponential(Lanes x) {
    const Lanes low = (Lanes){0} - 87.0f, magic = (Lanes){0} + 12582912.0f;
    x = pick(x < low, low, x);
    Lanes shifted = x * 1.44269504f + magic, whole = shifted - magic;
    Lanes rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    Lanes sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    Whole power = ((Whole)shifted - (Whole)magic + 127) << 23;
    return sum * (Lanes)power;
}

/* c [m, n] = (more ? c : 0) + a [m, k] b [k, n]; n is a multiple of LANES. */
INLINE void tile(const int rows, const int columns, float *c, const float *a, const float *b,
                 const long k, const long n, const int more) {
    Lanes sum[6][2];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            sum[i][j] = more ? AT(c + i * n + j * LANES) : (Lanes){0};
    for (long at = 0; at < k; at++) {
        Lanes right[2];
        for (int j = 0; j < columns; j++) right[j] = AT(b + at * n + j * LANES);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) sum[i][j] += a[i * k + at] * right[j];
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) AT(c + i * n + j * LANES) = sum[i][j];
}

static NOINLINE void product(float *c, const float *a, const float *b, const long m,
                             const long k, const long n, const int more) {
    long i, j = 0;
    for (; j + 2 * LANES <= n; j += 2 * LANES) {
        for (i = 0; i + 6 <= m; i += 6) tile(6, 2, c + i * n + j, a + i * k, b + j, k, n, more);
        for (; i + 2 <= m; i += 2) tile(2, 2, c + i * n + j, a + i * k, b + j, k, n, more);
        for (; i < m; i++) tile(1, 2, c + i * n + j, a + i * k, b + j, k, n, more);
    }
    for (i = 0; j < n && i < m; i++) tile(1, 1, c + i * n + j, a + i * k, b + j, k, n, more);
}

/* The three contractions: out [h, o, a] = sum_d z x; out [h, d, o] = sum_a p x;
   out [d, a] = sum_ho p z; each (more ? out : 0) + the sum. */
static NOINLINE void score(const float *z, const float *x, float *out, const int more) {
    for (int h = 0; h < H; h++)
        for (int j = 0; j < B; j += LANES) {
            Lanes sum[O][A];
            for (int o = 0; o < O; o++)
                for (int a = 0; a < A; a++)
                    sum[o][a] = more ? AT(out + ((h * O + o) * A + a) * B + j) : (Lanes){0};
            for (int d = 0; d < D; d++)
                for (int o = 0; o < O; o++)
                    for (int a = 0; a < A; a++)
                        sum[o][a] += AT(z + ((h * D + d) * O + o) * B + j) *
                                     AT(x + (d * A + a) * B + j);
            for (int o = 0; o < O; o++)
                for (int a = 0; a < A; a++) AT(out + ((h * O + o) * A + a) * B + j) = sum[o][a];
        }
}

static NOINLINE void spread(const float *p, const float *x, float *out, const int more) {
    for (int h = 0; h < H; h++)
        for (int j = 0; j < B; j += LANES)
            for (int d = 0; d < D; d++)
                for (int o = 0; o < O; o++) {
                    float *at = out + ((h * D + d) * O + o) * B + j;
                    Lanes sum = more ? AT(at) : (Lanes){0};
                    for (int a = 0; a < A; a++)
                        sum += AT(p + ((h * O + o) * A + a) * B + j) * AT(x + (d * A + a) * B + j);
                    AT(at) = sum;
                }
}

static NOINLINE void pull(const float *p, const float *z, float *out) {
    for (int j = 0; j < B; j += LANES)
        for (int d = 0; d < D; d++) {
            Lanes sum[A];
            for (int a = 0; a < A; a++) sum[a] = AT(out + (d * A + a) * B + j);
            for (int h = 0; h < H; h++)
                for (int o = 0; o < O; o++)
                    for (int a = 0; a < A; a++)
                        sum[a] += AT(p + ((h * O + o) * A + a) * B + j) *
                                  AT(z + ((h * D + d) * O + o) * B + j);
            for (int a = 0; a < A; a++) AT(out + (d * A + a) * B + j) = sum[a];
        }
}

/* What a block of nodes needs at a time. */
typedef struct {
    float m[O * DB], x[D * AB], first[DB], apart[D * OB], z[ROWS * OB], p[H * O * AB], out[D * AB];
    /* Of the gradient. */
    float grad[DB], to_out[D * AB], to_p[H * O * AB], to_s[H * O * AB], to_z[ROWS * OB];
    float to_x[D * AB], to_apart[D * OB], to_base[DB], to_m[O * DB], turned[OB * WIDE];
    /* Of the gradient's gradient. */
    float for_m[O * DB], later[O * DB], for_x[D * AB], for_first[DB], for_apart[D * OB];
    float for_z[ROWS * OB], for_out[D * AB];
    float for_s[H * O * AB], for_p[H * O * AB], back[H * O * AB], more_s[H * O * AB];
    float z_out[ROWS * OB], x_out[D * AB];
    /* Of all blocks: the matrices with their transposes, and the sums to them. */
    float weight_turned[D * ROWS], first_turned[D * D];
    float weight_sum[ROWS * WIDE], first_sum[D * WIDE];
} Work;

long work_bytes(void) { return sizeof(Work); }

/* rows [rows, n] from a node on, to and from a block. */
INLINE void take(float *block, const float *from, const int rows, long n, long start) {
    for (int i = 0; i < rows; i++) memcpy(block + i * B, from + i * n + start, 4 * B);
}

INLINE void give(const float *block, float *to, const int rows, long n, long start) {
    for (int i = 0; i < rows; i++) memcpy(to + i * n + start, block + i * B, 4 * B);
}

/* The states of all orders: x_0 the fields, x_{i+1} = x_i m_i. */
INLINE void take_states(Work *w, const float *fields, const float *messages, long n, long start) {
    take(w->first, fields, D, n, start);
    take(w->m, messages, O * D, n, start);
    for (int d = 0; d < D; d++)
        for (int j = 0; j < B; j += LANES) {
            Lanes state = AT(w->first + d * B + j);
            AT(w->x + d * AB + j) = state;
            for (int i = 0; i < O; i++) {
                state *= AT(w->m + i * DB + d * B + j);
                AT(w->x + (d * A + i + 1) * B + j) = state;
            }
        }
}

/* From x's gradient to the messages', and in place of order 0's to the fields'. If asked for, the
   sums that reach x_1 to x_l, all that comes after them included, go to `later`. */
INLINE void to_messages(const Work *w, float *to_x, float *to_m, float *later, const int more) {
    for (int d = 0; d < D; d++)
        for (int j = 0; j < B; j += LANES) {
            Lanes sum = {0};
            for (int i = O - 1; i >= 0; i--) {
                const int at = i * DB + d * B + j;
                sum += AT(to_x + (d * A + i + 1) * B + j);
                if (later) AT(later + at) = sum;
                Lanes before = more ? AT(to_m + at) : (Lanes){0};
                AT(to_m + at) = before + sum * AT(w->x + (d * A + i) * B + j);
                sum *= AT(w->m + at);
            }
            AT(to_x + d * AB + j) += sum;
        }
}

INLINE void give_states(const float *x, const float *m, float *to_fields, float *to_messages,
                        long n, long start) {
    for (int d = 0; d < D; d++) memcpy(to_fields + d * n + start, x + d * AB, 4 * B);
    give(m, to_messages, O * D, n, start);
}

/* Order 0, and the others less it. */
static NOINLINE void set_apart(const float *x, float *first, float *apart) {
    for (int d = 0; d < D; d++)
        for (int j = 0; j < B; j += LANES) {
            Lanes zero = AT(x + d * AB + j);
            AT(first + d * B + j) = zero;
            for (int o = 0; o < O; o++)
                AT(apart + (d * O + o) * B + j) = AT(x + (d * A + o + 1) * B + j) - zero;
        }
}

/* The transpose of set_apart, added to x. */
static NOINLINE void add_together(const float *first, const float *apart, float *x) {
    for (int d = 0; d < D; d++)
        for (int j = 0; j < B; j += LANES) {
            Lanes zero = first ? AT(first + d * B + j) : (Lanes){0};
            for (int o = 0; o < O; o++) {
                Lanes other = AT(apart + (d * O + o) * B + j);
                AT(x + (d * A + o + 1) * B + j) += other;
                zero -= other;
            }
            AT(x + d * AB + j) += zero;
        }
}

/* to [columns, WIDE] = from [rows, columns], transposed; what is past its rows stays. */
static NOINLINE void turn(const float *from, float *to, const int rows, const int columns,
                 const int wide) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) to[j * wide + i] = from[i * columns + j];
}

/* The gradient to scores from that to their softmax over o, of which order 0 is left out. */
static NOINLINE void to_scores(const float *p, const float *grad, float *out) {
    for (int h = 0; h < H; h++)
        for (int a = 0; a < A; a++)
            for (int j = 0; j < B; j += LANES) {
                Lanes product[O], sum = {0};
                const int at = (h * O * A + a) * B + j;
                for (int o = 0; o < O; o++) {
                    product[o] = AT(p + at + o * AB) * AT(grad + at + o * AB);
                    sum += product[o];
                }
                for (int o = 0; o < O; o++)
                    AT(out + at + o * AB) = product[o] - AT(p + at + o * AB) * sum;
            }
}

/* Scores to shares, in place; order 0 has the score 0 and its share is not kept. */
static NOINLINE void softmax(float *p) {
    for (int h = 0; h < H; h++)
        for (int a = 0; a < A; a++)
            for (int j = 0; j < B; j += LANES) {
                Lanes part[O], most = {0};
                const int at = (h * O * A + a) * B + j;
                for (int o = 0; o < O; o++) {
                    part[o] = AT(p + at + o * AB);
                    most = pick(part[o] > most, part[o], most);
                }
                Lanes sum = exponential(-most);
                for (int o = 0; o < O; o++) {
                    part[o] = exponential(part[o] - most);
                    sum += part[o];
                }
                for (int o = 0; o < O; o++) AT(p + at + o * AB) = part[o] / sum;
            }
}

INLINE void to_each_order(const float *base, float *out) {
    for (int d = 0; d < D; d++)
        for (int a = 0; a < A; a++) memcpy(out + (d * A + a) * B, base + d * B, 4 * B);
}

/* Keys, values, shares, and each order's sum before the ReLU. */
static NOINLINE void mix(Work *w, const float *fields, const float *messages,
                         const float *weight, const float *first, const float *bias, long n,
                         long start) {
    take_states(w, fields, messages, n, start);
    set_apart(w->x, w->first, w->apart);
    product(w->z, weight, w->apart, ROWS, D, OB, 0);
    score(w->z, w->x, w->p, 0);
    softmax(w->p);
    float base[DB];
    for (int d = 0; d < D; d++)
        for (int j = 0; j < B; j++) base[d * B + j] = bias[d];
    product(base, first, w->first, D, D, B, 1);
    to_each_order(base, w->out);
    pull(w->p, w->z + HALF * OB, w->out);
}

/* From the gradient of the node: to shares, scores, keys, values and the base. */
static NOINLINE void go_back(Work *w, const float *grad, long n, long start) {
    take(w->grad, grad, D, n, start);
    for (int d = 0; d < D; d++)
        for (int j = 0; j < B; j += LANES) {
            Lanes sum = {0};
            for (int a = 0; a < A; a++) {
                const int at = (d * A + a) * B + j;
                Lanes part = pick(AT(w->out + at) > 0, AT(w->grad + d * B + j), (Lanes){0});
                AT(w->to_out + at) = part;
                sum += part;
            }
            AT(w->to_base + d * B + j) = sum;
        }
    score(w->z + HALF * OB, w->to_out, w->to_p, 0);
    to_scores(w->p, w->to_p, w->to_s);
    spread(w->to_s, w->x, w->to_z, 0);
    spread(w->p, w->to_out, w->to_z + HALF * OB, 0);
}

/* And on to x. */
INLINE void go_on(Work *w) {
    memset(w->to_x, 0, sizeof(w->to_x));
    pull(w->to_s, w->z, w->to_x);
    product(w->to_apart, w->weight_turned, w->to_z, D, ROWS, OB, 0);
    product(w->for_first, w->first_turned, w->to_base, D, D, B, 0);
    add_together(w->for_first, w->to_apart, w->to_x);
}

/* From `start` on B nodes at a time. The last block overlaps the one before, the nodes before
   `done`: what it gives for them are the same bits, and in sums they are left out. */
#define EACH_BLOCK                                                                                 \
    for (long done = 0, start; start = done < n - B ? done : n - B, done < n; done = start + B)

/* out [d, n] = sum_a ReLU(...). */
void attend(long n, const float *fields, const float *messages, const float *weight,
            const float *first, const float *bias, Work *w, float *out) {
    EACH_BLOCK {
        mix(w, fields, messages, weight, first, bias, n, start);
        for (int d = 0; d < D; d++)
            for (int j = 0; j < B; j += LANES) {
                Lanes sum = {0};
                for (int a = 0; a < A; a++) {
                    Lanes part = AT(w->out + (d * A + a) * B + j);
                    sum += pick(part < 0, (Lanes){0}, part);
                }
                AT(w->grad + d * B + j) = sum;
            }
        give(w->grad, out, D, n, start);
    }
}

/* Zero the nodes of a block that an earlier block had: they must not count twice in a sum. */
INLINE void forget(float *block, const int rows, int had) {
    for (int i = 0; i < rows; i++) memset(block + i * B, 0, 4 * had);
}

static NOINLINE void add_outer(float *sum, const float *left, const float *right, float *turned,
                      const int rows, const int wide) {
    turn(right, turned, D, wide, WIDE);
    product(sum, left, turned, rows, wide, WIDE, 1);
}

INLINE void start_sums(Work *w, const float *weight, const float *first) {
    turn(weight, w->weight_turned, ROWS, D, ROWS);
    turn(first, w->first_turned, D, D, D);
    memset(w->weight_sum, 0, sizeof(w->weight_sum));
    memset(w->first_sum, 0, sizeof(w->first_sum));
    memset(w->turned, 0, sizeof(w->turned));
}

INLINE void end_sums(Work *w, float *to_weight, float *to_first) {
    for (int i = 0; i < ROWS; i++) memcpy(to_weight + i * D, w->weight_sum + i * WIDE, 4 * D);
    for (int i = 0; i < D; i++) memcpy(to_first + i * D, w->first_sum + i * WIDE, 4 * D);
}

/* The gradients of attend. */
void gradient(long n, const float *grad, const float *fields, const float *messages,
              const float *weight, const float *first, const float *bias, Work *w,
              float *to_fields, float *to_layers, float *to_weight, float *to_first,
              float *to_bias) {
    start_sums(w, weight, first);
    memset(to_bias, 0, 4 * D);
    EACH_BLOCK {
        mix(w, fields, messages, weight, first, bias, n, start);
        go_back(w, grad, n, start);
        go_on(w);
        to_messages(w, w->to_x, w->to_m, 0, 0);
        give_states(w->to_x, w->to_m, to_fields, to_layers, n, start);
        forget(w->first, D, done - start), forget(w->to_base, D, done - start);
        forget(w->apart, D * O, done - start);
        add_outer(w->weight_sum, w->to_z, w->apart, w->turned, ROWS, OB);
        add_outer(w->first_sum, w->to_base, w->first, w->turned, D, B);
        for (int d = 0; d < D; d++)
            for (int j = 0; j < B; j++) to_bias[d] += w->to_base[d * B + j];
    }
    end_sums(w, to_weight, to_first);
}

/* The transpose of to_messages: for_x, with the products in it taken apart into what is left to
   the messages (to_m) and to x (x_out). */
INLINE void for_states(Work *w) {
    for (int d = 0; d < D; d++)
        for (int j = 0; j < B; j += LANES) {
            Lanes sum = AT(w->for_first + d * B + j);
            AT(w->for_x + d * AB + j) = sum;
            for (int i = 0; i < O; i++) {
                const int at = i * DB + d * B + j, state = (d * A + i) * B + j;
                Lanes for_message = AT(w->for_m + at), later = AT(w->later + at);
                AT(w->to_m + at) = sum * later;
                AT(w->x_out + state) = for_message * later;
                sum = sum * AT(w->m + at) + for_message * AT(w->x + state);
                AT(w->for_x + state + B) = sum;
            }
            AT(w->x_out + (d * A + O) * B + j) = (Lanes){0};
        }
}

/* The gradients of what gradient gives to fields and messages, from those to it, for_fields and
   for_messages; none of them is to the bias. */
void second(long n, const float *for_fields, const float *for_messages, const float *grad,
            const float *fields, const float *messages, const float *weight, const float *first,
            const float *bias, Work *w, float *to_grad, float *to_fields, float *to_layers,
            float *to_weight, float *to_first) {
    start_sums(w, weight, first);
    EACH_BLOCK {
        mix(w, fields, messages, weight, first, bias, n, start);
        go_back(w, grad, n, start);
        go_on(w);
        to_messages(w, w->to_x, w->to_m, w->later, 0);
        take(w->for_first, for_fields, D, n, start);
        take(w->for_m, for_messages, O * D, n, start);
        for_states(w);
        set_apart(w->for_x, w->for_first, w->for_apart);
        product(w->for_z, weight, w->for_apart, ROWS, D, OB, 0);
        const float *u = w->z, *v = w->z + HALF * OB;
        const float *for_u = w->for_z, *for_v = w->for_z + HALF * OB;
        score(for_u, w->x, w->for_s, 0);
        score(u, w->for_x, w->for_s, 1);
        to_scores(w->p, w->for_s, w->back);
        /* To p: from the values' gradient, and from both places in that of the softmax. */
        score(for_v, w->to_out, w->for_p, 0);
        for (int h = 0; h < H; h++)
            for (int a = 0; a < A; a++)
                for (int j = 0; j < B; j += LANES) {
                    const int at = (h * O * A + a) * B + j;
                    Lanes inner = {0}, outer = {0};
                    for (int o = 0; o < O; o++) {
                        inner += AT(w->p + at + o * AB) * AT(w->to_p + at + o * AB);
                        outer += AT(w->p + at + o * AB) * AT(w->for_s + at + o * AB);
                    }
                    for (int o = 0; o < O; o++) {
                        const int to = at + o * AB;
                        AT(w->for_p + to) += AT(w->for_s + to) * (AT(w->to_p + to) - inner) -
                                             AT(w->to_p + to) * outer;
                    }
                }
        to_scores(w->p, w->for_p, w->more_s);
        spread(w->to_s, w->for_x, w->z_out, 0);
        spread(w->more_s, w->x, w->z_out, 1);
        spread(w->back, w->to_out, w->z_out + HALF * OB, 0);
        pull(w->to_s, for_u, w->x_out);
        pull(w->more_s, u, w->x_out);
        product(w->to_apart, w->weight_turned, w->z_out, D, ROWS, OB, 0);
        add_together(0, w->to_apart, w->x_out);
        to_messages(w, w->x_out, w->to_m, 0, 1);
        give_states(w->x_out, w->to_m, to_fields, to_layers, n, start);
        /* What reaches the node's gradient. */
        float base[DB];
        product(base, first, w->for_first, D, D, B, 0);
        to_each_order(base, w->for_out);
        pull(w->p, for_v, w->for_out);
        pull(w->back, v, w->for_out);
        for (int d = 0; d < D; d++)
            for (int j = 0; j < B; j += LANES) {
                Lanes sum = {0};
                for (int a = 0; a < A; a++) {
                    const int at = (d * A + a) * B + j;
                    sum += pick(AT(w->out + at) > 0, AT(w->for_out + at), (Lanes){0});
                }
                AT(w->grad + d * B + j) = sum;
            }
        give(w->grad, to_grad, D, n, start);
        forget(w->apart, D * O, done - start), forget(w->for_apart, D * O, done - start);
        forget(w->for_first, D, done - start);
        add_outer(w->weight_sum, w->z_out, w->apart, w->turned, ROWS, OB);
        add_outer(w->weight_sum, w->to_z, w->for_apart, w->turned, ROWS, OB);
        add_outer(w->first_sum, w->to_base, w->for_first, w->turned, D, B);
    }
    end_sums(w, to_weight, to_first);
}
"""
