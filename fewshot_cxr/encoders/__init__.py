"""Networks that turn images into embeddings, by one contract, with files to keep them in."""

from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.checkpoint import ENCODER_FILE, load_encoder, save_encoder
from fewshot_cxr.encoders.covidnet import CovidNet
from fewshot_cxr.encoders.efficientnet_attention import NORMALISATIONS, EfficientNetAttention
from fewshot_cxr.encoders.resnet9 import ResNet9
from fewshot_cxr.encoders.table import ENCODERS, build_encoder
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.weights import load_weights

__all__ = [
    "ENCODERS",
    "ENCODER_FILE",
    "NORMALISATIONS",
    "CovidNet",
    "EfficientNetAttention",
    "Encoder",
    "ResNet9",
    "TimmEncoder",
    "build_encoder",
    "load_encoder",
    "load_weights",
    "save_encoder",
]
