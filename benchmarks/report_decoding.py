"""Reports a second: `generate` with its cache and an end, against the published protocol on the same weights.

    python benchmarks/report_decoding.py --language runs/demo/bart --data runs/demo/data

The published CXR-IRGen code draws every token from the whole distribution with a full pass over all tokens
so far, without a cache, and goes on to its 512th token whatever comes. `--max-tokens 0` takes the codec's own
limit as that number. Both sides decode the same embeddings, in turns.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import torch
from transformers.modeling_outputs import BaseModelOutput

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_module.pairs import PairsFolder
from language_module.codec import ReportCodec
from language_module.config import DecodingConfig
from runtime.devices import pick_device
from runtime.files import write_atomic
from runtime.runs import RunFolder


@torch.no_grad()
def decode_as_published(
    codec: ReportCodec, embeddings: torch.Tensor, num_tokens: int, generator: torch.Generator
) -> list[str]:
    """Multinomial sampling by one full pass a token, with neither a cache nor an end of sequence."""
    first = codec.bart.config.decoder_start_token_id
    assert first is not None
    ids = torch.full((len(embeddings), 1), first, device=codec.device)
    states = BaseModelOutput(last_hidden_state=embeddings)
    for _ in range(num_tokens):
        logits = codec.bart(encoder_outputs=states, decoder_input_ids=ids, use_cache=False).logits
        drawn = torch.multinomial(logits[:, -1].float().softmax(-1), 1, generator=generator)
        ids = torch.cat([ids, drawn], dim=1)
    return codec.tokenizer.batch_decode(ids, skip_special_tokens=True)


def main(argv: list[str] | None = None) -> None:
    """Time both and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--language", type=Path, default=Path("runs/demo/bart"))
    parser.add_argument("--data", type=Path, default=Path("runs/demo/data"))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/report_decoding.json"))
    args = parser.parse_args(argv)
    device = pick_device()
    codec = ReportCodec.from_pretrained(RunFolder.open(args.language, "bart").model_dir).to(device)
    positions = codec.bart.config.max_position_embeddings
    num_tokens = min(args.max_tokens or codec.config.max_tokens, positions - 1)
    reports = PairsFolder.open(args.data).split("test").table["report"].tolist()[: args.batch_size]
    embeddings = codec.encode(reports)
    generator = torch.Generator(device).manual_seed(0)
    generators = [torch.Generator(device).manual_seed(place) for place in range(len(reports))]
    ways = {
        "published: full passes, multinomial": lambda: decode_as_published(
            codec, embeddings, num_tokens, generator
        ),
        "generate with cache, sampled": lambda: codec.decode(
            embeddings, DecodingConfig("sample"), generators
        ),
        "generate with cache, greedy": lambda: codec.decode(embeddings),
        "generate with cache, 4 beams": lambda: codec.decode(embeddings, DecodingConfig("beam")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(args.repeats + 1):  # the first is a warm-up
        for name, decode in ways.items():
            started_s = time.process_time() if device.type == "cpu" else time.perf_counter()
            decode()
            ended_s = time.process_time() if device.type == "cpu" else time.perf_counter()
            if repeat:
                seconds[name].append(ended_s - started_s)
    result = {
        "tokens_of_the_published_protocol": num_tokens,
        "report_embeddings": [codec.num_embeddings, codec.embedding_dim],
        "machine": f"{platform.machine()}, {device}, {torch.get_num_threads()} thread(s)",
        "torch": torch.__version__,
        "clock": "CPU time" if device.type == "cpu" else "wall time",
        "batch_size": len(reports),
        "reports_per_s": {name: round(len(reports) / min(times), 2) for name, times in seconds.items()},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(args.out, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
