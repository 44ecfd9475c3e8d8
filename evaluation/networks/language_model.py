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
from functools import cached_property
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
    """A causal language model from a transformers folder; opened when it is first asked."""

    def __init__(self, folder: Path, device: Any, max_tokens: int, flag: str = "--green") -> None:
        """It computes in bfloat16 where the device is made for that. ValueError where no weights are."""
        import torch

        from runtime.contents import model_hash
        from runtime.precision import settle_precision

        self.folder, self.device, self.max_tokens = folder, torch.device(device), max_tokens
        self.dtype = torch.bfloat16 if settle_precision("auto", self.device) == "bf16" else torch.float32
        self.where = f"{flag} {folder}"
        try:
            self.identity = _identify(model_hash(folder), self.dtype, max_tokens)
        except ValueError as error:
            raise ValueError(f"{self.where} cannot be loaded as a language model: {error}") from error

    @cached_property
    def _opened(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from runtime.devices import move
        from runtime.weights import load_pretrained

        options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": self.dtype}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True, padding_side="left")
            model: Any = load_pretrained(AutoModelForCausalLM, self.folder, **options)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.where} cannot be loaded as a language model: {error}") from error
        if tokenizer.eos_token is None:
            raise ValueError(f"{self.where}: its tokenizer names no eos_token")
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        return tokenizer, move(model.requires_grad_(False), self.device)

    def __call__(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer each; "" to a prompt that fills the model's context."""
        import torch
        from transformers import GenerationConfig

        tokenizer, model = self._opened
        special = tokenizer.chat_template is None  # a template writes them itself
        texts = [self._render(prompt) for prompt in prompts]
        ids = [tokenizer(text, add_special_tokens=special)["input_ids"] for text in texts]
        longest = getattr(model.config, "max_position_embeddings", None) or 10**9
        rows = [row for row, tokens in enumerate(ids) if len(tokens) < longest]
        answers = [""] * len(texts)
        if not rows:
            return answers
        batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
        length = batch["input_ids"].shape[1]
        ends = model.generation_config.eos_token_id  # of a chat model there are several
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=min(self.max_tokens, longest - length),
            eos_token_id=tokenizer.eos_token_id if ends is None else ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.no_grad():
            inputs = {name: batch[name].to(self.device) for name in ("input_ids", "attention_mask")}
            out = model.generate(**inputs, generation_config=settings)
        found = tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)
        for row, answer in zip(rows, found, strict=True):
            answers[row] = answer
        return answers

    def _render(self, prompt: Prompt) -> str:
        tokenizer, _ = self._opened
        if tokenizer.chat_template is None:
            return "\n\n".join(content for _, content in prompt)
        other = {"user": "human", "assistant": "gpt"}  # as some templates name roles
        messages = [
            {"role": role, "content": content, "from": other.get(role, role), "value": content}
            for role, content in prompt
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
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
        self.notice = f"reports are sent to {parts.netloc}, as --llm-endpoint asks"

    def __call__(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer each, asked for at the same time."""
        if self.notice:
            print(self.notice)
            self.notice = ""
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
