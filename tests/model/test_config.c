/* config.json -> model_config: families, both spellings, defaults, refusals. */
#include <math.h>
#include <string.h>

#include "model/config_hf.h"
#include "support.h"

static grpo_error last;

static grpo_status parse(model_config *c, const char *text)
{
    json_t *json;
    grpo_error err;
    assert_ok(json_parse(&json, text, strlen(text), "test", &err), err);
    grpo_status status = model_config_from_json(c, json, NULL, "config.json", &last);
    json_decref(json);
    return status;
}

#define TINY "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":4,\"num_attention_heads\":4," \
             "\"num_key_value_heads\":2,\"vocab_size\":100,\"max_position_embeddings\":512"

static model_config good(const char *text)
{
    model_config c;
    if (parse(&c, text) != GRPO_OK)
        fail_msg("%s\n%s", text, last.message);
    return c;
}

static void refused(const char *text, const char *mentions)
{
    model_config c;
    if (parse(&c, text) == GRPO_OK)
        fail_msg("accepted: %s", text);
    if (!strstr(last.message, mentions))
        fail_msg("\"%s\" does not mention \"%s\"", last.message, mentions);
    if (strncmp(last.message, "config.json", 11) != 0)
        fail_msg("\"%s\" does not name the file", last.message);
}

static void families_differ_as_they_should(void **state)
{
    (void)state;
    model_config c = good("{\"model_type\":\"llama\"," TINY "}");
    assert_true(c.pre_norms && !c.post_norms && c.qk_norm == 0 && !c.q_bias && !c.o_bias && !c.tied_embeddings);
    assert_true(c.head_dim == 8 && c.rotary_dim == 8 && c.n_ropes == 1 && c.ropes[0].theta == 1e4);
    assert_true(c.activation == OPS_SILU && c.norm_offset == 0 && c.embedding_scale == 1);
    assert_true(c.norm_eps == 1e-6f && c.attention_scale == (float)(1 / sqrt(8.0)));
    assert_true(c.bos == 1 && c.n_eos == 1 && c.eos[0] == 2 && c.pad == -1);
    model_config_deinit(&c);

    c = good("{\"model_type\":\"qwen2\"," TINY "}");
    assert_true(c.q_bias && c.k_bias && c.v_bias && !c.o_bias && c.bos == -1 && c.n_eos == 0);
    model_config_deinit(&c);

    c = good("{\"model_type\":\"qwen3\"," TINY "}");
    assert_true(c.qk_norm == 1 && c.head_dim == 128);
    model_config_deinit(&c);

    c = good("{\"model_type\":\"olmo2\"," TINY "}");
    assert_true(c.qk_norm == 2 && !c.pre_norms && c.post_norms && c.norm_eps == 1e-5f && c.pad == 1 && c.n_eos == 0);
    model_config_deinit(&c);

    c = good("{\"model_type\":\"gemma3_text\"," TINY "}");
    assert_true(c.tied_embeddings && c.head_dim == 256 && c.norm_offset == 1 && c.pre_norms && c.post_norms);
    assert_true(c.embedding_scale == (float)sqrt(32.0) && c.attention_scale == 1.0f / 16 && c.activation == OPS_GELU_TANH);
    assert_true(c.n_ropes == 2 && c.ropes[0].theta == 1e6 && c.ropes[1].theta == 1e4);
    for (int i = 0; i < 4; i++)
        assert_true(c.layer[i].window == 4096 && c.layer[i].rope == 1);
    model_config_deinit(&c);

    c = good("{\"model_type\":\"smollm3\"," TINY "}");
    assert_true(c.tied_embeddings && c.ropes[0].theta == 2e6 && c.bos == -1 && c.n_eos == 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(c.layer[i].rope, i == 3 ? -1 : 0);
    model_config_deinit(&c);

    c = good("{\"model_type\":\"mistral\"," TINY "}");
    for (int i = 0; i < 4; i++)
        assert_int_equal(c.layer[i].window, 4096);
    model_config_deinit(&c);

    c = good("{\"model_type\":\"qwen3_moe\"," TINY ",\"num_experts\":6,\"num_experts_per_tok\":2,"
             "\"decoder_sparse_step\":2,\"mlp_only_layers\":[1]}");
    assert_true(c.experts == 6 && c.experts_used == 2 && c.expert_ffn == 768 && !c.norm_topk_prob && c.head_dim == 8);
    for (int i = 0; i < 4; i++)
        assert_int_equal(c.layer[i].moe, i == 3);
    model_config_deinit(&c);
}

static void windows_follow_the_families_rules(void **state)
{
    (void)state;
    model_config c = good("{\"model_type\":\"mistral\"," TINY ",\"sliding_window\":null}");
    assert_int_equal(c.layer[0].window, 0);
    c = good("{\"model_type\":\"qwen2\"," TINY ",\"sliding_window\":7,\"use_sliding_window\":false,\"max_window_layers\":1}");
    assert_int_equal(c.layer[3].window, 0);
    c = good("{\"model_type\":\"qwen2\"," TINY ",\"sliding_window\":7,\"use_sliding_window\":true,\"max_window_layers\":1}");
    for (int i = 0; i < 4; i++)
        assert_int_equal(c.layer[i].window, i >= 1 ? 7 : 0);
    c = good("{\"model_type\":\"qwen3\"," TINY ",\"sliding_window\":7,\"use_sliding_window\":true,\"layer_types\":"
             "[\"sliding_attention\",\"full_attention\",\"full_attention\",\"full_attention\"]}");
    for (int i = 0; i < 4; i++)
        assert_int_equal(c.layer[i].window, i == 0 ? 7 : 0);
    c = good("{\"model_type\":\"qwen3_moe\"," TINY ",\"sliding_window\":7,\"use_sliding_window\":true}");
    assert_int_equal(c.layer[0].window, 7);
    c = good("{\"model_type\":\"gemma3_text\"," TINY ",\"sliding_window\":6,\"sliding_window_pattern\":2}");
    for (int i = 0; i < 4; i++)
        assert_true(c.layer[i].window == (i % 2 ? 0 : 6) && c.layer[i].rope == (i % 2 ? 0 : 1));
    c = good("{\"model_type\":\"smollm3\"," TINY ",\"sliding_window\":9,\"use_sliding_window\":true,\"no_rope_layers\":[1,0,1,1]}");
    for (int i = 0; i < 4; i++)
        assert_true(c.layer[i].window == (i == 1 ? 9 : 0) && c.layer[i].rope == (i == 1 ? -1 : 0));
}

static void both_spellings_of_rope_are_read(void **state)
{
    (void)state;
    model_config c = good("{\"model_type\":\"llama\"," TINY ",\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}");
    assert_true(c.ropes[0].theta == 5e5 && c.ropes[0].scaling == MODEL_ROPE_LINEAR && c.ropes[0].factor == 4);
    c = good("{\"model_type\":\"llama\"," TINY ",\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\",\"factor\":8,"
             "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":128}}");
    assert_true(c.ropes[0].scaling == MODEL_ROPE_LLAMA3 && c.ropes[0].factor == 8 && c.ropes[0].original_positions == 128);
    c = good("{\"model_type\":\"qwen2\"," TINY ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0}}");
    assert_true(c.ropes[0].scaling == MODEL_ROPE_YARN && c.ropes[0].original_positions == 512 && c.ropes[0].truncate);
    c = good("{\"model_type\":\"qwen2\"," TINY ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"original_max_position_embeddings\":128,"
             "\"beta_fast\":16,\"attention_factor\":1.5,\"truncate\":false}}");
    assert_true(c.ropes[0].factor == 4 && c.ropes[0].beta_fast == 16 && c.ropes[0].attention_factor == 1.5 && !c.ropes[0].truncate);
    c = good("{\"model_type\":\"gemma3_text\"," TINY ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8},"
             "\"rope_local_base_freq\":2e4}");
    assert_true(c.ropes[0].scaling == MODEL_ROPE_LINEAR && c.ropes[1].scaling == MODEL_ROPE_PLAIN && c.ropes[1].theta == 2e4);
    c = good("{\"model_type\":\"gemma3_text\"," TINY ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8,"
             "\"rope_theta\":3e5},\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":2e4}}}");
    assert_true(c.ropes[0].theta == 3e5 && c.ropes[0].factor == 8 && c.ropes[1].theta == 2e4);
    /* equal longrope lists are plain divisors */
    c = good("{\"model_type\":\"llama\"," TINY ",\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,2,3,4],"
             "\"long_factor\":[1,2,3,4],\"attention_factor\":1.0}}");
    assert_true(c.ropes[0].scaling == MODEL_ROPE_FACTORS && c.ropes[0].factors[3] == 4);
    model_config_deinit(&c);
}

static void heads_come_from_the_architecture(void **state)
{
    (void)state;
    model_config c = good("{\"model_type\":\"llama\"," TINY ",\"architectures\":[\"LlamaForSequenceClassification\"],"
                          "\"id2label\":{\"0\":\"x\"},\"tie_word_embeddings\":true}");
    assert_true(c.head == MODEL_HEAD_SEQUENCE && !c.tied_embeddings);
    c = good("{\"model_type\":\"qwen2\"," TINY ",\"architectures\":[\"Qwen2ForTokenClassification\"],\"num_labels\":1}");
    assert_int_equal(c.head, MODEL_HEAD_TOKEN);
    refused("{\"model_type\":\"llama\"," TINY ",\"architectures\":[\"LlamaForSequenceClassification\"]}", "one label");
    refused("{\"model_type\":\"llama\"," TINY ",\"architectures\":[\"LlamaForQuestionAnswering\"]}", "LlamaForQuestionAnswering");
    refused("{\"model_type\":\"llama\"," TINY ",\"architectures\":[\"MistralForCausalLM\"]}", "MistralForCausalLM");
}

static void a_multimodal_gemma_gives_its_text_part(void **state)
{
    (void)state;
    model_config c = good("{\"model_type\":\"gemma3\",\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"eos_token_id\":[1,5],"
                          "\"text_config\":{\"model_type\":\"gemma3_text\"," TINY "},\"vision_config\":{\"hidden_size\":4}}");
    assert_string_equal(c.family, "gemma3_text");
    assert_true(c.n_eos == 2 && c.eos[1] == 5 && c.tied_embeddings);
}

static void token_ids_outside_the_vocabulary_are_none(void **state)
{
    (void)state;
    model_config c = good("{\"model_type\":\"llama\"," TINY ",\"pad_token_id\":100,\"bos_token_id\":-1,\"eos_token_id\":[3,99,100]}");
    assert_true(c.pad == -1 && c.bos == -1 && c.n_eos == 2 && c.eos[0] == 3 && c.eos[1] == 99);
}

static void generation_config_decides_the_end_tokens(void **state)
{
    (void)state;
    model_config c;
    grpo_error err;
    const char *text = "{\"model_type\":\"llama\"," TINY ",\"eos_token_id\":7}";
    json_t *json = json_loads(text, 0, NULL), *generation = json_pack("{s:[i,i]}", "eos_token_id", 8, 9);
    assert_ok(model_config_from_json(&c, json, generation, "config.json", &err), err);
    assert_true(c.n_eos == 2 && c.eos[0] == 8 && c.eos[1] == 9);
    json_decref(json);
    json_decref(generation);
}

static void what_would_change_the_numbers_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {"\"final_logit_softcapping\":30.0", "final_logit_softcapping"},
        {"\"attn_logit_softcapping\":50.0", "attn_logit_softcapping"},
        {"\"hidden_act\":\"relu\"", "relu"},
        {"\"hidden_act\":\"gelu\"", "gelu"},
        {"\"sliding_window\":128", "sliding_window"},
        {"\"partial_rotary_factor\":0.5", "partial_rotary_factor"},
        {"\"rope_scaling\":{\"rope_type\":\"proportional\",\"factor\":2}", "proportional"},
        {"\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2,\"alpha\":1000}", "alpha"},
        {"\"rope_scaling\":{\"rope_type\":\"longrope\",\"factor\":2,\"short_factor\":[1,1,1,1],\"long_factor\":[1,2,3,4]}",
         "longrope"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"attention_factor\":0}", "attention_factor"},
        {"\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}", "full_attention"},
        {"\"rope_parameters\":{\"rope_theta\":1e4,\"partial_rotary_factor\":0.25}", "partial_rotary_factor"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"attn_factor\":0.9}", "attn_factor"},
        {"\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"mrope_section\":[1,2]}", "mrope_section"},
        {"\"rope_scaling\":{\"rope_type\":\"linear\"}", "factor"},
        {"\"rope_scaling\":7", "rope_scaling"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":1}", "low_freq_factor"},
        {"\"embedding_multiplier\":12", "embedding_multiplier"},
        {"\"residual_multiplier\":0.2", "residual_multiplier"},
        {"\"attention_multiplier\":0.01", "attention_multiplier"},
        {"\"logits_scaling\":8", "logits_scaling"},
        {"\"logit_scale\":0.06", "logit_scale"},
        {"\"clip_qkv\":8.0", "clip_qkv"},
        {"\"attention_sinks\":4", "attention_sinks"},
        {"\"is_causal\":false", "is_causal"},
        {"\"use_bidirectional_attention\":true", "use_bidirectional_attention"},
        {"\"use_parallel_residual\":true", "use_parallel_residual"},
        {"\"norm_type\":\"layer_norm\"", "norm_type"},
        {"\"rope_interleaved\":true", "rope_interleaved"},
        {"\"is_encoder_decoder\":true", "is_encoder_decoder"},
        {"\"add_cross_attention\":true", "add_cross_attention"},
        {"\"pruned_heads\":{\"0\":[1]}", "pruned_heads"},
        {"\"per_layer_config\":{\"1\":{\"head_dim\":4}}", "per_layer_config"},
        {"\"dual_chunk_attention_config\":{\"chunk_size\":262144}", "dual_chunk_attention_config"},
        {"\"num_nextn_predict_layers\":1", "num_nextn_predict_layers"},
        {"\"text_config\":{\"hidden_size\":8}", "text_config"},
        {"\"qkv_bias\":true", "qkv_bias"},
        {"\"hidden_act\":\"gelu_fast\"", "gelu_fast"},
        {"\"quantization\":{\"group_size\":64,\"bits\":4}", "quantised"},
        {"\"num_local_experts\":8", "num_local_experts"},
        {"\"quantization_config\":{\"bits\":4}", "quantization_config"},
        {"\"use_qk_norm\":true", "use_qk_norm"},
        {"\"layer_types\":[\"full_attention\",\"chunked_attention\",\"full_attention\",\"full_attention\"]", "layer_types"},
        {"\"layer_types\":[\"full_attention\"]", "layer_types"},
        {"\"rope_theta\":0.5", "rope_theta"},
        {"\"rope_theta\":\"big\"", "rope_theta"},
        {"\"rms_norm_eps\":-1", "rms_norm_eps"},
        {"\"tie_word_embeddings\":1", "tie_word_embeddings"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text, "{\"model_type\":\"llama\"," TINY ",%s}", cases[i][0]);
        refused(text, cases[i][1]);
    }
    refused("{\"model_type\":\"gemma3_text\"," TINY ",\"use_bidirectional_attention\":true}", "use_bidirectional_attention");
    refused("{\"model_type\":\"qwen3_moe\"," TINY ",\"num_experts\":4,\"num_experts_per_tok\":5}", "num_experts_per_tok");
    refused("{\"model_type\":\"qwen3_moe\"," TINY ",\"num_experts\":4097}", "num_experts");
    refused("{\"model_type\":\"qwen3_moe\"," TINY ",\"num_experts\":4,\"num_experts_per_tok\":2,\"moe_intermediate_size\":0}", "moe_intermediate_size");
    refused("{\"model_type\":\"qwen2\"," TINY ",\"layer_types\":[\"sliding_attention\",\"full_attention\",\"full_attention\","
            "\"full_attention\"]}", "layer_types");
}

/* Families have features of their own. */
static void what_would_change_a_familys_numbers_is_refused(void **state)
{
    static const char *const cases[][3] = {
        {"gemma3_text", "\"final_logit_softcapping\":30.0", "final_logit_softcapping"},
        {"gemma3_text", "\"attn_logit_softcapping\":50.0", "attn_logit_softcapping"},
        {"gemma3_text", "\"sliding_window\":null", "sliding window"},
        {"gemma3_text", "\"sliding_window_pattern\":0", "sliding_window_pattern"},
        {"gemma3_text", "\"query_pre_attn_scalar\":-1", "query_pre_attn_scalar"},
        {"gemma3_text", "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5e5}", "rope_parameters"},
        {"gemma3_text", "\"rope_parameters\":5", "rope_parameters"},
        {"gemma3_text", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"truncate\":false}", "truncate"},
        {"gemma3_text", "\"num_kv_shared_layers\":2", "num_kv_shared_layers"},
        {"gemma3_text", "\"altup_num_inputs\":4", "altup_num_inputs"},
        {"mistral", "\"sliding_window\":0", "sliding_window"},
        {"mistral", "\"attention_bias\":true", "attention_bias"},
        {"mistral", "\"sliding_window\":8,\"layer_types\":[\"sliding_attention\",\"full_attention\",\"full_attention\","
         "\"full_attention\"]", "layer_types"},
        {"qwen2", "\"mlp_bias\":true", "mlp_bias"},
        {"qwen2", "\"use_sliding_window\":true,\"sliding_window\":-3", "sliding_window"},
        {"qwen2", "\"use_mrope\":true", "use_mrope"},
        {"qwen3", "\"num_experts\":8", "num_experts"},
        {"qwen3_moe", "\"shared_expert_intermediate_size\":64", "shared_expert_intermediate_size"},
        {"qwen3_moe", "\"decoder_sparse_step\":0", "decoder_sparse_step"},
        {"qwen3_moe", "\"num_experts\":4,\"num_experts_per_tok\":5", "num_experts_per_tok"},
        {"olmo2", "\"clip_qkv\":8.0", "clip_qkv"},
        {"olmo2", "\"sliding_window\":64", "sliding_window"},
        {"olmo2", "\"mlp_bias\":true", "mlp_bias"},
        {"smollm3", "\"no_rope_layers\":[1,0]", "no_rope_layers"},
        {"smollm3", "\"no_rope_layer_interval\":0", "no_rope_layer_interval"},
        {"smollm3", "\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\",\"sliding_attention\"]",
         "no sliding window"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text, "{\"model_type\":\"%s\"," TINY ",%s}", cases[i][0], cases[i][1]);
        refused(text, cases[i][2]);
    }
}

/* Keys of published files that say nothing about the numbers. */
static void harmless_keys_are_accepted(void **state)
{
    static const char *const cases[] = {
        "\"final_logit_softcapping\":null,\"rope_interleaved\":false,\"layer_types\":null,\"partial_rotary_factor\":1.0",
        "\"_anything\":5,\"_name_or_path\":\"x/y\",\"name_or_path\":\"x\",\"_attn_implementation_autoset\":true",
        "\"pretraining_tp\":2,\"is_llama_config\":true,\"rope_scaling\":{},\"max_sequence_length\":2048",
        "\"transformers.js_config\":{\"dtype\":\"q4\"},\"auto_map\":{\"AutoModel\":\"m.M\"},\"unsloth_fixed\":true",
        "\"attention_dropout\":0.1,\"hidden_dropout_prob\":0.1,\"resid_pdrop\":0.1,\"classifier_dropout\":0.2",
        "\"use_cache\":true,\"initializer_range\":0.02,\"torch_dtype\":\"bfloat16\",\"dtype\":\"bfloat16\"",
        "\"output_attentions\":false,\"return_dict\":true,\"chunk_size_feed_forward\":0,\"tie_last_hidden_states\":true",
        "\"temperature\":0.6,\"top_p\":0.9,\"do_sample\":true,\"max_length\":4096,\"repetition_penalty\":1.1",
        "\"id2label\":{\"0\":\"A\"},\"label2id\":{\"A\":0},\"problem_type\":null,\"task_specific_params\":null",
        "\"is_causal\":true,\"is_encoder_decoder\":false,\"quantization_config\":null,\"tokenizer_class\":\"X\"",
        "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":16.0,\"finetuned\":true,\"original_max_position_embeddings\":128}",
        "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}",
        "\"max_window_layers\":28,\"use_sliding_window\":false,\"sliding_window\":null",
        "\"rope_theta\":1000000,\"rms_norm_eps\":1e-05,\"hidden_act\":\"silu\"",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text, "{\"model_type\":\"llama\"," TINY ",%s}", cases[i]);
        model_config c = good(text);
        model_config_deinit(&c);
    }
}

static void unsupported_models_are_refused_by_name_with_the_supported_ones(void **state)
{
    (void)state;
    refused("{\"model_type\":\"phi3\"," TINY "}", "phi3");
    assert_non_null(strstr(last.message, "qwen3_moe"));
    assert_int_equal(last.status, GRPO_ERR_UNSUPPORTED);
    refused("{" TINY "}", "model_type");
    refused("{\"model_type\":3}", "model_type");
    refused("[]", "object");
}

static void impossible_sizes_are_refused(void **state)
{
    static const char *const cases[][2] = {
        {"\"num_hidden_layers\":0", "num_hidden_layers"},
        {"\"num_hidden_layers\":257", "num_hidden_layers"},
        {"\"num_hidden_layers\":4294967297", "num_hidden_layers"},
        {"\"num_hidden_layers\":2.5", "num_hidden_layers"},
        {"\"num_attention_heads\":0", "num_attention_heads"},
        {"\"num_attention_heads\":-4", "num_attention_heads"},
        {"\"num_key_value_heads\":3", "num_key_value_heads"},
        {"\"num_key_value_heads\":8", "num_key_value_heads"},
        {"\"hidden_size\":0", "hidden_size"},
        {"\"hidden_size\":1000000000", "hidden_size"},
        {"\"head_dim\":7", "head_dim"},
        {"\"head_dim\":0", "head_dim"},
        {"\"vocab_size\":0", "vocab_size"},
        {"\"vocab_size\":16000000,\"hidden_size\":1000000,\"head_dim\":8", "vocab_size"},
        {"\"intermediate_size\":-1", "intermediate_size"},
        {"\"max_position_embeddings\":0", "max_position_embeddings"},
        {"\"eos_token_id\":\"x\"", "eos_token_id"},
        {"\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]", "eos_token_id"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024]; /* the later key wins */
        snprintf(text, sizeof text, "{\"model_type\":\"llama\"," TINY ",%s}", cases[i][0]);
        refused(text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_differ_as_they_should),
        cmocka_unit_test(windows_follow_the_families_rules),
        cmocka_unit_test(both_spellings_of_rope_are_read),
        cmocka_unit_test(heads_come_from_the_architecture),
        cmocka_unit_test(a_multimodal_gemma_gives_its_text_part),
        cmocka_unit_test(token_ids_outside_the_vocabulary_are_none),
        cmocka_unit_test(generation_config_decides_the_end_tokens),
        cmocka_unit_test(what_would_change_the_numbers_is_refused),
        cmocka_unit_test(what_would_change_a_familys_numbers_is_refused),
        cmocka_unit_test(harmless_keys_are_accepted),
        cmocka_unit_test(unsupported_models_are_refused_by_name_with_the_supported_ones),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
