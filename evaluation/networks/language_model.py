"""Language models that are asked about reports, and their answers on disk.

    FOLDER                          a transformers causal language model, with its chat template if it has one
    NAME, with --llm-endpoint URL   a model behind an OpenAI-compatible API: the reports are sent there

Answers are the likeliest ones, token by token. Each is kept as a line of cache/answers-....jsonl as soon as
it is there, so that a run that was stopped goes on, and a repeat asks nothing.
"""

import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from tqdm import tqdm

Prompt = tuple[tuple[str, str], ...]  # (role, content) of each message

BATCH_SIZE = 8
KEY = "LLM_API_KEY"  # environment variable
TIMEOUT_S = 600
WAITS_S = (1, 2, 4, 8, 16)  # before an endpoint that is busy is asked again
_BUSY = (408, 409, 429, 500, 502, 503, 504)


class LanguageModel(Protocol):
    """Prompts -> answers; `identity` tells models and settings apart."""

    identity: str

    def __call__(self, prompts: Sequence[Prompt]) -> list[str]: ...


def open_language_model(
    source: str, endpoint: str | None, device: Any, max_tokens: int, flag: str
) -> LanguageModel:
    """The model of a flag: a folder, or with an endpoint the name of a model there.

    Args:
        max_tokens: of an answer; longer ones are cut.

    Raises:
        ValueError: no such model.
    """
    if endpoint:
        return Endpoint(endpoint, source, max_tokens)
    return LocalModel(Path(source), device, max_tokens, flag)


class LocalModel:
    """A causal language model from a transformers folder."""

    def __init__(self, folder: Path, device: Any, max_tokens: int, flag: str = "--green") -> None:
        """Open it, in bfloat16 where the device is made for that. Raises ValueError where there is none."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from runtime.contents import model_hash
        from runtime.devices import move
        from runtime.precision import settle_precision
        from runtime.weights import load_pretrained

        dtype = torch.bfloat16 if settle_precision("auto", torch.device(device)) == "bf16" else torch.float32
        options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": dtype}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
            self.model: Any = load_pretrained(AutoModelForCausalLM, folder, **options)
        except (OSError, ValueError) as error:
            raise ValueError(f"{flag} {folder} cannot be loaded as a language model: {error}") from error
        move(self.model.requires_grad_(False), device)
        end = self.model.generation_config.eos_token_id
        self.end = self.tokenizer.eos_token_id if end is None else end
        if self.end is None:
            raise ValueError(f"{flag} {folder}: neither its config nor its tokenizer names an eos_token")
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.longest = getattr(self.model.config, "max_position_embeddings", None) or 10**9
        self.max_tokens, self.where = max_tokens, f"{flag} {folder}"
        self.identity = _identify(model_hash(folder), str(dtype), max_tokens)

    def __call__(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer each; "" to a prompt that fills the model's context."""
        import torch
        from transformers import GenerationConfig

        texts = [self._render(prompt) for prompt in prompts]
        special = self.tokenizer.chat_template is None  # a template writes them itself
        ids = [self.tokenizer(text, add_special_tokens=special)["input_ids"] for text in texts]
        rows = [row for row, tokens in enumerate(ids) if len(tokens) < self.longest]
        answers = [""] * len(texts)
        if not rows:
            return answers
        batch = self.tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
        length = batch["input_ids"].shape[1]
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=min(self.max_tokens, self.longest - length),
            eos_token_id=self.end,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        with torch.no_grad():
            inputs = {name: batch[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
            out = self.model.generate(**inputs, generation_config=settings)
        found = self.tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)
        for row, answer in zip(rows, found, strict=True):
            answers[row] = answer
        return answers

    def _render(self, prompt: Prompt) -> str:
        if self.tokenizer.chat_template is None:
            return "\n\n".join(content for _, content in prompt)
        other = {"user": "human", "assistant": "gpt"}  # as some templates name roles
        messages = [
            {"role": role, "content": content, "from": other.get(role, role), "value": content}
            for role, content in prompt
        ]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if not all(content.strip() in text for _, content in prompt):
            raise ValueError(f"{self.where}: its chat template leaves out part of the prompt")
        return text


class Endpoint:
    """A model behind URL/chat/completions. Nothing is sent but by this class, and nowhere else."""

    def __init__(self, url: str, name: str, max_tokens: int) -> None:
        """Raises ValueError for a URL that is none, or that holds a password."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError(
                f"--llm-endpoint {parts.scheme}://{parts.hostname}: write http(s)://HOST/v1, and the key "
                f"into the environment variable {KEY}"
            )
        self.url, self.name = f"{url.rstrip('/')}/chat/completions", name
        self.identity = _identify(url, name, max_tokens)
        self.opener = urllib.request.build_opener(_NoRedirect())
        print(f"reports are sent to {parts.netloc}, as --llm-endpoint asks")

    def __call__(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer each, asked for at the same time."""
        with ThreadPoolExecutor(BATCH_SIZE) as pool:
            return list(pool.map(self._ask, prompts))

    def _ask(self, prompt: Prompt) -> str:
        messages = [{"role": role, "content": content} for role, content in prompt]
        body = json.dumps({"model": self.name, "messages": messages, "temperature": 0.0, "seed": 0})
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        request = urllib.request.Request(self.url, body.encode(), headers)
        for wait in (*WAITS_S, None):
            try:
                with self.opener.open(request, timeout=TIMEOUT_S) as response:
                    content = json.load(response)["choices"][0]["message"]["content"]
                return str(content or "")
            except urllib.error.HTTPError as error:
                if wait is None or error.code not in _BUSY:
                    hint = f"; is {KEY} set?" if error.code in (401, 403) else ""
                    raise ValueError(f"--llm-endpoint: {self.url} answers {error.code}{hint}") from None
            except (OSError, TimeoutError) as error:
                if wait is None:
                    raise ValueError(f"--llm-endpoint: {self.url} does not answer: {error}") from None
            except (ValueError, KeyError, IndexError, TypeError):
                raise ValueError(
                    f"--llm-endpoint: {self.url} answers in another form than OpenAI's"
                ) from None
            time.sleep(wait)
        raise AssertionError  # the last turn ends in one of the errors above


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is sent goes to the named host alone, and so does the key."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _identify(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def ask_cached(
    model: LanguageModel, prompts: Sequence[Prompt], cache_dir: Path | None, progress: str
) -> list[str]:
    """The model's answer to each prompt; those that the cache knows are not asked for again."""
    file = None if cache_dir is None else cache_dir / f"answers-{model.identity}.jsonl"
    known = _read_answers(file)
    keys = [_identify(*(part for message in prompt for part in message)) for prompt in prompts]
    wanted = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
    order = sorted(wanted, key=lambda key: sum(len(content) for _, content in wanted[key]))
    with tqdm(total=len(order), desc=progress, unit="report", disable=not order) as bar:
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            found = dict(zip(batch, model([wanted[key] for key in batch]), strict=True))
            known |= found
            _append_answers(file, found)
            bar.update(len(batch))
    return [known[key] for key in keys]


def _append_answers(file: Path | None, found: dict[str, str]) -> None:
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"prompt": key, "answer": answer}) for key, answer in found.items()]
    with file.open("a") as stream:
        stream.write("\n" + "\n".join(lines) + "\n")  # a line that was cut ends there


def _read_answers(file: Path | None) -> dict[str, str]:
    known: dict[str, str] = {}
    for line in file.read_text(errors="replace").splitlines() if file and file.is_file() else ():
        try:
            entry = json.loads(line)
            known[str(entry["prompt"])] = str(entry["answer"])
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a kill: asked for again
    return known
