"""The smallest wav2vec 2.0 that still has every part: settings for ``small_config`` or a library configuration."""

#: The encoder, as HuBERT, WavLM and data2vec-audio have it too.
ENCODER = {
    "conv_dim": (8,) * 7,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
#: With the quantiser of wav2vec 2.0.
TINY = ENCODER | {"num_codevectors_per_group": 4, "codevector_dim": 8, "proj_codevector_dim": 8}
