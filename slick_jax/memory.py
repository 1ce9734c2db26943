"""What to do when the memory of the devices is full: the settings that decide it, with the values they have."""

from __future__ import annotations

import jax

from slick_jax.commands import COMMANDS
from slick_jax.config import Config
from slick_jax.knowledge.shapes import TOKENS
from slick_jax.settings.longform import COMMANDS as LONGFORM


def hint(command: str, config: Config) -> str:
    """The settings that lower the memory of `slick <command>`, each with what is in use; automatic ones resolved."""
    about, annotate, train = COMMANDS[command], config.annotate, config.train
    annotates = about.annotates or (command == "study" and bool(config.study.shift))
    found = [f"cut the model over more devices (mesh.fsdp is {config.mesh.fsdp}, mesh.tensor {config.mesh.tensor})"]
    if command == "pretrain":  # which one process does on one device, whatever the mesh
        rows, tokens = config.pretrain.rows_per_step, config.data.corpus.row_tokens
        fewer = f"lower pretrain.rows_per_step (it is {rows}) or data.corpus.row_tokens (it is {tokens})"
        found = [fewer, *found] if jax.process_count() > 1 else [fewer]
    if about.trains:
        found.append(f"raise train.accumulate (it is {train.accumulate}, of train.batch_size={train.batch_size} rows)")
        if train.remat != "full":
            found.append(f"set train.remat to 'full' (it is {train.remat!r})")
    if about.annotates or about.trains or command == "evaluate":
        chosen = TOKENS.get(jax.default_backend(), TOKENS["gpu"])
        known = str(annotate.batch_tokens or f"{chosen}, chosen for this kind of device")
        found.append(f"lower annotate.batch_tokens (it is {known})")
    if command in LONGFORM:
        found.append(f"lower longform.write.rows (it is {config.longform.write.rows})")
    if annotates and annotate.kept_gib != 0:
        kept = "None, which takes half of what the weights leave" if annotate.kept_gib is None else annotate.kept_gib
        found.append(f"lower annotate.kept_gib (it is {kept})")
    if annotates and annotate.answers != "none":
        found.append(f"lower annotate.answer_rows (it is {annotate.answer_rows})")
    if command == "annotate" and config.model.weights == "":
        found.append(f"hold the weights as model.weights='int8' (they are {config.model.dtype}), which changes labels")
    return "; or ".join(found)
