"""Hugging Face models through ``transformers``: found once as a local folder, described as plain JSON, and built from that.

Importing transformers takes seconds, so it happens where a model asks for it. No code that a model brings along is ever run, and
weights are read from safetensors alone.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from braid.errors import UserError, install_command
from braid.files import user_path
from braid.files.foreign import foreign, told
from braid.huggingface import hub
from braid.modalities import ImageModalityConfig, Tokenizer

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]  # what is fetched from the hub
INSTALL = f"run: {install_command('hf')}"
# Settings that would let a saved model fetch or run code, or that name this machine's own choices.
AS_DATA = {"local_files_only": True, "trust_remote_code": False}  # no code in a folder runs, and nobody is asked about it
LEFT_OUT = ("auto_map", "quantization_config", "attn_implementation", "_attn_implementation", "_name_or_path")

Training = Literal["frozen", "full", "lora"]


class Role(NamedTuple):
    """What a model is used as: the auto class that builds it, its inputs, and the words of an error message."""

    auto: str
    mapping: str  # which configurations the auto class knows
    half: str  # where the configuration of a model of images and text keeps this half
    reads: str  # the model's main input, or several that it may have
    wanted: str


TEXT = Role("AutoModel", "MODEL_MAPPING", "text_config", "input_ids", "encode text; give a text model such as BERT or GPT-2")
IMAGE = Role(
    "AutoModel",
    "MODEL_MAPPING",
    "vision_config",
    "pixel_values",
    "encode images; give a vision encoder such as ViT, ResNet or CLIP",
)
AUDIO = Role(
    "AutoModel",
    "MODEL_MAPPING",
    "audio_config",
    "input_features input_values",
    "encode recordings; give an audio encoder such as AST, Whisper, CLAP or wav2vec2",
)
WRITER = Role(
    "AutoModelForCausalLM",
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "text_config",
    "input_ids",
    "write text; give a causal language model such as GPT-2",
)
WHOLE = Role(
    "AutoModelForImageTextToText",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "",
    "pixel_values",
    "describe images; give an image-to-text model such as BLIP",
)


def library() -> Any:
    """transformers, silent.

    Raises:
        UserError: when it is not installed.
    """
    try:
        import transformers
    except ImportError:
        raise UserError(f"pretrained parts need transformers, which is not installed; {INSTALL}") from None
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def find(source: str) -> Path:
    """The folder of a model: ``source`` itself, or where the hub's files of that name lie or come to lie.

    Raises:
        UserError: when it is neither a model's folder nor to be had from the hub.
    """
    path = user_path(source)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{source} has no config.json; it is not the folder of a Hugging Face model")
        return path
    library()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        kept = Path(snapshot_download(source, local_files_only=True))
        if any(kept.glob("*.safetensors")):
            return kept
    except HFValidationError:
        raise UserError(
            f"{source} is neither a folder nor a name on the Hugging Face hub, such as google/vit-base-patch16-224"
        ) from None
    except OSError:
        pass  # not fetched yet
    try:
        return Path(snapshot_download(source, allow_patterns=FILES))
    except RepositoryNotFoundError:
        raise UserError(f"the Hugging Face hub has no model {source} that you may read; check its name") from None
    except Exception:  # of whichever of its layers the network failed in
        raise UserError(
            f"{source} is not a folder here, and the Hugging Face hub cannot be reached; where there is a network, run "
            f"`hf download {source} --local-dir FOLDER`, then give that folder"
        ) from None


def configuration(folder: Path, role: Role) -> Any:
    """The model's transformers configuration; of a model of both images and text (CLIP, SigLIP), the half that is needed.

    Raises:
        UserError: when it cannot be read, or the model does something else.
    """
    transformers = library()
    try:
        result = transformers.AutoConfig.from_pretrained(folder, **AS_DATA)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/config.json cannot be read ({_short(error)})") from None
    half = getattr(result, role.half, None) if role.half else None
    config = result if half is None else half
    _auto(role)
    known = getattr(transformers, role.mapping)
    fits = type(config) in known and (role is WHOLE or _reads(known[type(config)]) in role.reads.split())
    if not fits:
        raise UserError(f"{folder} holds a {result.model_type} model, which does not {role.wanted}")
    return config


def _auto(role: Role) -> Any:
    """The auto class of a role. It learns the audio half of CLAP, which transformers leaves out."""
    transformers = library()
    if role is AUDIO:
        transformers.AutoModel.register(transformers.ClapAudioConfig, transformers.ClapAudioModel, exist_ok=True)
    return getattr(transformers, role.auto)


def _reads(model: Any) -> str:
    return str(getattr(model[0] if isinstance(model, tuple) else model, "main_input_name", ""))


def architecture(folder: Path, role: Role) -> dict[str, Any]:
    """``configuration`` as plain JSON, every setting written out: what ``model.json`` keeps."""
    data = json.loads(configuration(folder, role).to_json_string(use_diff=False))
    return {name: value for name, value in data.items() if name not in LEFT_OUT} | {"dtype": "float32"}


def shortened(architecture: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """The architecture of a model's first ``depth`` layers.

    Raises:
        UserError: when it has fewer, or its layers are no plain row.
    """
    kind, config = architecture["model_type"], _config(architecture)
    name = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")  # DistilBERT says n_layers
    if name not in architecture or "layer_types" in architecture:
        raise UserError(f"the layers of the {kind} model are of several kinds and belong together; leave depth at 0")
    if depth > architecture[name]:
        raise UserError(f"depth is {depth}; it must be at most {architecture[name]}, the layers of the {kind} model")
    return {**architecture, name: depth}


def build(architecture: Mapping[str, Any], role: Role) -> Any:
    """The network, its weights still random. Of an encoder-decoder that is wanted as an encoder, the encoder."""
    transformers = library()
    kind = str(architecture.get("model_type"))
    if kind not in transformers.CONFIG_MAPPING:
        raise UserError(
            f"model.json asks for a {kind} model, which transformers {transformers.__version__} lacks; update transformers"
        )
    config = _config(architecture)
    try:
        network = _auto(role).from_config(config, dtype=torch.float32, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(f"the architecture of the {kind} model cannot be built ({_short(error)})") from None
    return _part(network, role)


def weights(folder: Path, architecture: Mapping[str, Any], role: Role, new: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The parameters of a model's folder by the names that ``build`` gives them.

    Args:
        new: parts of the names of parameters that the folder need not have; they are left out.
    Raises:
        UserError: when the file is missing, damaged or lacks parameters.
    """
    network, absent = _loaded(folder, _config(architecture), role, ("pooler", *new))
    state: dict[str, Tensor] = _part(network, role).state_dict()
    return {name: value for name, value in state.items() if name not in absent or "pooler" in name}


def whole(folder: Path) -> Any:
    """An image-to-text model, ready for use."""
    return _loaded(folder, configuration(folder, WHOLE), WHOLE)[0].eval()


def _loaded(folder: Path, config: Any, role: Role, optional: tuple[str, ...] = ()) -> tuple[Any, list[str]]:
    """A network with its folder's weights, and the ``optional`` parameters that the folder lacks."""
    try:
        whole = config.model_type == "clap_audio_model"  # transformers does not read it out of CLAP
        auto, given = (library().ClapModel, {}) if whole else (_auto(role), {"config": config})
        network, report = auto.from_pretrained(
            folder, **given, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **AS_DATA
        )
        network = network.audio_model if whole else network
    except Exception as error:  # each file format, and transformers itself, fails in its own way
        for file in sorted(folder.glob("*.safetensors")):
            if kind := foreign(file):
                raise UserError(told(file, kind)) from None
        raise UserError(f"the weights in {folder} cannot be read ({_short(error)}); copy the folder again") from None
    absent = sorted(report["missing_keys"])
    lacking = [name for name in absent if not any(part in name for part in optional)]
    if lacking:
        raise UserError(f"the weights in {folder} lack {len(lacking)} parameters, first {lacking[0]}; copy the folder again")
    return network, absent


def store_tied_once(network: nn.Module) -> None:
    """Leave the second name of a parameter that has two (input and output embeddings) out of what is saved."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            tied[name] = first[id(parameter)]

    def leave_out(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
        for name in tied:
            del state[prefix + name]

    def put_back(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        for name, source in tied.items():
            if prefix + source in state:
                state[prefix + name] = state[prefix + source]

    network.register_state_dict_post_hook(leave_out)
    network.register_load_state_dict_pre_hook(put_back)


def fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put ``weights`` into a network, beneath its LoRA matrices where it has them."""
    own = network.state_dict()
    given = {name: state.get(name.replace(".base_layer", ""), value) for name, value in own.items()}
    network.load_state_dict(given)


def rows_of(state: Mapping[str, Tensor], network: nn.Module, rows: Sequence[int]) -> dict[str, Tensor]:
    """``weights`` for a network that reads fewer tokens: of everything that has a row for each token, these rows."""
    own = network.state_dict()
    larger = {name for name, value in own.items() if name in state and state[name].shape[:1] != value.shape[:1]}
    return {name: value[list(rows)] if name in larger else value for name, value in state.items()}


def set_training(network: nn.Module, training: Training, rank: int, new: tuple[str, ...] = ()) -> None:
    """Let no parameter be trained, all of them, or low-rank matrices beside every linear layer (LoRA, arXiv:2106.09685).

    Args:
        new: parts of the names of parameters that no pretraining has seen, and which are always trained.
    """
    if training == "lora":
        _add_lora(network, rank)
    elif training == "frozen":
        network.requires_grad_(False)
    for name, parameter in network.named_parameters():
        if any(part in name for part in new):
            parameter.requires_grad_(True)


def _add_lora(network: nn.Module, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError(f"train: lora needs peft, which is not installed; {INSTALL}") from None
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers that keep their weights transposed, which peft sees by itself
            inject_adapter_in_model(config, network)
    except ValueError:
        raise UserError("train: lora needs linear layers, and this model has none; choose frozen or full") from None


def tokenizer(folder: Path, begins: bool = False) -> Tokenizer:
    """A model's own tokenizer, with the names of the tokens that fill up, begin and end a text.

    Args:
        begins: texts are written with it, so something has to begin them; where nothing does, the end of text, as in GPT-2.
    """
    result = own_tokenizer(folder)
    backend = getattr(result, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"the tokenizer in {folder} has no tokenizer.json form; save it with transformers as a fast tokenizer")
    end = result.eos_token or result.sep_token
    if not end:
        raise UserError(f"the tokenizer in {folder} names no eos_token or sep_token; add one to its tokenizer_config.json")
    backend.no_padding()
    backend.no_truncation()
    start = result.bos_token or result.cls_token or (end if begins else "")
    return Tokenizer(backend, (result.pad_token or end, start, end))


def own_tokenizer(folder: Path) -> Any:
    """A model's tokenizer as transformers reads it; without any file of it, transformers would make up an empty one."""
    if not any(file for pattern in ("tokenizer.json", "vocab.*", "*.model") for file in folder.glob(pattern)):
        raise UserError(f"{folder} has no tokenizer.json, which says how the model wants its text; copy it, too")
    try:
        return library().AutoTokenizer.from_pretrained(folder, **AS_DATA)
    except Exception as error:  # many formats, each with errors of its own
        raise UserError(f"the tokenizer in {folder} cannot be read ({_short(error)}); copy the folder again") from None


def images(folder: Path) -> ImageModalityConfig:
    """How a model prepares its images: size, mean, standard deviation, and whether their centre is cropped."""
    try:
        result = library().AutoImageProcessor.from_pretrained(folder, backend="pil", **AS_DATA)
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        raise UserError(
            f"{folder} has no readable preprocessor_config.json, which says how the model prepares its images; copy it, too"
        ) from None
    size = (result.crop_size if getattr(result, "do_center_crop", False) else None) or result.size
    sides = [side for side in (size.get("height"), size.get("width"), size.get("shortest_edge")) if side]
    if len(set(sides)) != 1:
        raise UserError(f"{folder} needs images of {dict(size)}; Braid's are square")
    crop = bool(getattr(result, "do_center_crop", False)) or bool(size.get("shortest_edge"))
    scaled = bool(getattr(result, "do_normalize", True))
    mean, std = (_of_channels(result.image_mean), _of_channels(result.image_std)) if scaled else ((0.0,) * 3, (1.0,) * 3)
    return ImageModalityConfig(size=int(sides[0]), resize="crop" if crop else "squash", mean=mean, std=std)


def _of_channels(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _config(architecture: Mapping[str, Any]) -> Any:
    settings = {name: value for name, value in architecture.items() if name not in LEFT_OUT}
    return library().CONFIG_MAPPING[settings["model_type"]].from_dict(settings)


def _part(network: Any, role: Role) -> Any:
    return network.get_encoder() if role in (TEXT, AUDIO) and network.config.is_encoder_decoder else network


def _short(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:160]


def check_part(source: str, architecture: Mapping[str, Any], rank: int) -> None:
    """The settings that every pretrained part needs."""
    if not source and not architecture:
        raise UserError("a pretrained part needs source: a name on the Hugging Face hub or a local folder")
    if rank < 1:
        raise UserError(f"lora_rank is {rank}; it must be at least 1")


def check_length(max_length: int, architecture: Mapping[str, Any]) -> None:
    limit = architecture.get("max_position_embeddings") or architecture.get("n_positions")
    if limit and max_length > limit:
        raise UserError(f"max_length is {max_length}; the {architecture['model_type']} model reads at most {limit} tokens")


def check_vocabulary(network: Any, vocab_size: int) -> None:
    """A network may have room for more tokens than its tokenizer has, never for fewer."""
    room = network.get_input_embeddings().num_embeddings
    if vocab_size > room:
        kind = network.config.model_type
        raise UserError(f"the tokenizer has {vocab_size} tokens and the {kind} model {room}; they are of different models")


class PretrainedEncoder(nn.Module):
    """A network of transformers that is filled from a folder, and does not change where it is frozen."""

    role: ClassVar[hub.Role]
    network: Any

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.network = hub.build(config.architecture, self.role)
        hub.set_training(self.network, config.train, config.lora_rank)

    def load(self, folder: Path) -> None:
        """Fill in the weights of a model's folder."""
        hub.fill(self.network, hub.weights(folder, self.config.architecture, self.role))

    def train(self, mode: bool = True) -> "PretrainedEncoder":
        """A frozen network stays in evaluation mode: no dropout, no new batch statistics."""
        super().train(mode)
        if self.config.train == "frozen":
            self.network.eval()
        return self
