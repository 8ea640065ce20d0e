# distilbert-base-uncased (Sanh et al., 2019): 6 layers, 768 channels, 12 heads, 66 million weights. The folder holds
# config.json, model.safetensors and tokenizer.json of huggingface.co/distilbert/distilbert-base-uncased.
model = dict(type='DistilBertClassifier', num_classes=2, pretrained='data/pretrained/distilbert-base-uncased')
