"""Networks that turn images into embeddings, by one contract, with files to keep them in."""

from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.checkpoint import ENCODER_FILE, load_encoder, load_head, save_encoder
from fewshot_cxr.encoders.covidnet import COVIDNET_PRESETS, CovidNet
from fewshot_cxr.encoders.efficientnet_attention import NORMALISATIONS, PUBLISHED_GATES, EfficientNetAttention
from fewshot_cxr.encoders.resnet9 import ResNet9
from fewshot_cxr.encoders.table import ENCODERS, build_encoder, encoder_options
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.vgg16 import Vgg16
from fewshot_cxr.encoders.weights import load_weights, weights_name

__all__ = [
    "COVIDNET_PRESETS",
    "ENCODERS",
    "ENCODER_FILE",
    "NORMALISATIONS",
    "PUBLISHED_GATES",
    "CovidNet",
    "EfficientNetAttention",
    "Encoder",
    "ResNet9",
    "TimmEncoder",
    "Vgg16",
    "build_encoder",
    "encoder_options",
    "load_encoder",
    "load_head",
    "load_weights",
    "save_encoder",
    "weights_name",
]
