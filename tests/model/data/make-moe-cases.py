"""Makes moe-*/: tiny random Qwen3-MoE models, and what transformers computes from them in float64: logits, the loss
tok_seq_mean of one group and its gradient. Run in this folder. Written by torch 2.15.0, transformers 5.24.0,
safetensors 0.8.0 and gguf 0.19.0. golden.json has the form that src/train/gradient_case.h reads; moe-all/model.gguf
holds that model under the names of the gguf package.

    plain  norm_topk_prob false, layer 1 dense by mlp_only_layers, tied; experts saved as tensors of all together
    step   decoder_sparse_step 2, one expert of nine, norm_topk_prob false, attention biases
    all    every expert chosen, odd sizes, norm_topk_prob true
"""
import json
import os
import types

import gguf
import torch
import transformers.models.qwen3_moe.modeling_qwen3_moe as modeling
from safetensors.torch import load_file, save_file
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

CASES = {
    "plain": dict(num_hidden_layers=3, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=7, mlp_only_layers=[1],
                  norm_topk_prob=False, tie_word_embeddings=True),
    "step": dict(num_hidden_layers=4, num_experts=9, num_experts_per_tok=1, moe_intermediate_size=3, decoder_sparse_step=2,
                 norm_topk_prob=False, attention_bias=True),
    "all": dict(num_hidden_layers=1, num_experts=3, num_experts_per_tok=3, moe_intermediate_size=17, norm_topk_prob=True),
}
PROMPT = [3, 17, 0, 21, 9, 9, 4]
COMPLETIONS = [[1, 8, 22, 5, 5, 13], [2], [19, 6, 6, 11], [7, 7, 20, 14, 3, 16, 10, 2]]
REWARDS = [1.0, 0.0, 0.5, 0.25]


class Double(types.ModuleType):
    """torch, but float32 is float64: transformers drops to float32 in norms, softmax and router."""

    def __getattr__(self, name):
        return torch.float64 if name in ("float32", "float") else getattr(torch, name)


def create(name, settings):
    """Saves the model; returns it in float64."""
    torch.manual_seed(len(name))
    config = Qwen3MoeConfig(vocab_size=23, hidden_size=12, intermediate_size=10, num_attention_heads=2, num_key_value_heads=1,
                            head_dim=6, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, **settings)
    model = Qwen3MoeForCausalLM._from_config(config, attn_implementation="eager", experts_implementation="eager")
    with torch.no_grad():
        for parameter_name, p in model.named_parameters():
            p.copy_(0.4 * torch.randn(p.shape) + parameter_name.endswith("norm.weight"))
    folder = f"moe-{name}"
    model.save_pretrained(folder, save_original_format=name != "plain")
    os.remove(f"{folder}/generation_config.json")
    model.double()
    rotary = model.model.rotary_emb
    rotary.inv_freq = 1e4 ** (-torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
    return folder, model


def logprobs(model, ids):
    logits = model(torch.tensor([ids])).logits[0]
    logp = torch.log_softmax(logits[:-1], -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return logits, logp[len(PROMPT) - 1:]


def loss_of(model, old):
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    losses = []
    for ids, a, before in zip(COMPLETIONS, rewards - rewards.mean(), old):
        ratio = torch.exp(logprobs(model, PROMPT + ids)[1] - torch.tensor(before, dtype=torch.float64))
        losses.append(-torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a).mean())
    return torch.stack(losses).mean()


def gradients(model):
    """Under the names of one tensor for each expert and projection."""
    out = {}
    for name, p in model.named_parameters():
        stem = name.rsplit(".", 1)[0]
        if name.endswith("experts.gate_up_proj"):
            for e, both in enumerate(p.grad):
                out[f"{stem}.{e}.gate_proj.weight"], out[f"{stem}.{e}.up_proj.weight"] = both.chunk(2)
        elif name.endswith("experts.down_proj"):
            for e, down in enumerate(p.grad):
                out[f"{stem}.{e}.down_proj.weight"] = down
        else:
            out[name] = p.grad
    return out


def router_gap(model):
    """How clear the choices are: the smallest difference of the last chosen and the next logit."""
    gaps = []

    def look(module, _, output):
        top = output[0].sort(descending=True).values
        if module.top_k < module.num_experts:
            gaps.append((top[:, module.top_k - 1] - top[:, module.top_k]).min().item())

    hooks = [m.register_forward_hook(look) for m in model.modules() if isinstance(m, modeling.Qwen3MoeTopKRouter)]
    for ids in COMPLETIONS:
        logprobs(model, PROMPT + ids)
    for hook in hooks:
        hook.remove()
    return min(gaps, default=None)


def write_gguf(folder, c):
    """As llama.cpp's converter stores it: experts stacked, the router F32, metadata of the architecture."""
    arch = gguf.MODEL_ARCH.QWEN3MOE
    w = gguf.GGUFWriter(f"{folder}/model.gguf", gguf.MODEL_ARCH_NAMES[arch])
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_rope_freq_base(1e4)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_expert_count(c.num_experts)
    w.add_expert_used_count(c.num_experts_per_tok)
    w.add_expert_feed_forward_length(c.moe_intermediate_size)
    names = gguf.get_tensor_name_map(arch, c.num_hidden_layers)
    tensors = load_file(f"{folder}/model.safetensors")
    for layer in range(c.num_hidden_layers):
        for part in ("gate_proj", "up_proj", "down_proj"):
            stem = f"model.layers.{layer}.mlp.experts"
            experts = [tensors.pop(f"{stem}.{e}.{part}.weight") for e in range(c.num_experts)]
            tensors[f"{stem}.{part}.weight"] = torch.stack(experts)
    for name, t in tensors.items():
        w.add_tensor(names.get_name(name, (".weight",)), t.numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


for name, settings in CASES.items():
    folder, model = create(name, settings)
    modeling.torch, plain_float = Double("torch"), torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    old = [[round(x.item() + 0.05 * (-1) ** i, 6) for i, x in enumerate(logprobs(model, PROMPT + ids)[1])] for ids in COMPLETIONS]
    loss = loss_of(model, old)
    loss.backward()
    grads = gradients(model)
    norm = sum(g.square().sum() for g in grads.values()).sqrt().item()
    tensors = {f"logits.{i}": logprobs(model, PROMPT + ids)[0].detach() for i, ids in enumerate(COMPLETIONS)}
    tensors |= {f"grad.{k}": v for k, v in grads.items()}
    torch.Tensor.float, modeling.torch = plain_float, torch
    save_file({k: v.to(torch.float32).contiguous() for k, v in tensors.items()}, f"{folder}/golden.safetensors")
    golden = {"grpo": dict(prompt=PROMPT, completions=COMPLETIONS, rewards=REWARDS, old_logprobs=old, clip_eps=0.2,
                           loss_mask=[[1] * len(c) for c in COMPLETIONS], loss=loss.item(), grad_norm=norm,
                           smallest_router_gap=router_gap(model))}
    with open(f"{folder}/golden.json", "w") as f:
        json.dump(golden, f, indent=1)
    if name == "all":
        write_gguf(folder, model.config)
    print(name, golden["grpo"]["loss"], norm, golden["grpo"]["smallest_router_gap"])
