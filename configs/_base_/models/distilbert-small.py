# A randomly initialised DistilBERT that a CPU core trains in minutes: 2 layers, 64 channels, 4 heads.
model = dict(
    type='DistilBertClassifier',
    num_classes=2,
    architecture=dict(
        vocab_size=6000,
        max_position_embeddings=128,
        dim=64,
        n_layers=2,
        n_heads=4,
        hidden_dim=128,
        dropout=0.3,
        attention_dropout=0.1,
        seq_classif_dropout=0.3,
    ),
)
