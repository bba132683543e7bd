import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save, save_file

from discovery.detector.network import (
    build_network,
    logits_and_embeddings,
    outputs_and_embeddings,
    pixel_statistics,
    to_input,
    views,
)
from discovery.errors import BadInput


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
def test_logit_is_that_of_timm(name):
    network = build_network(name).eval()
    side = network.pretrained_cfg["input_size"][1]
    images = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        logits, embeddings = logits_and_embeddings(network, images)
        expected = network(images)[:, 0]
    assert embeddings.shape == (2, network.head_hidden_size)
    # bf16, where there is one, keeps 8 bits
    torch.testing.assert_close(logits, expected, rtol=0.05, atol=0.02)


def test_unknown_network_lists_similar_ones():
    with pytest.raises(
        BadInput, match=r"timm has no network 'resnet81'; similar ones are .*resnet"
    ):
        build_network("resnet81")


def test_fine_stem_keeps_twice_the_resolution():
    images = torch.rand(1, 3, 64, 64)
    side = {s: build_network("resnet18", s).forward_features(images).shape[-1] for s in
            ("standard", "fine")}  # fmt: skip
    assert side == {"standard": 2, "fine": 4}


def test_fine_stem_needs_a_pooling():
    with pytest.raises(BadInput, match=r'test_vit has no first pooling.*stem = "standard"'):
        build_network("test_vit", "fine")


def test_pretrained_weights_arrive_without_their_head(tmp_path):
    imagenet = timm.create_model("test_resnet", num_classes=7)
    save_file(imagenet.state_dict(), tmp_path / "w.safetensors")
    network = build_network("test_resnet", pretrained=str(tmp_path / "w.safetensors"))
    assert torch.equal(network.conv1[0].weight, imagenet.conv1[0].weight)
    assert network.get_classifier().out_features == 1


def test_a_network_for_one_size_is_built_for_the_size_given_with_a_logit_per_class():
    for size in (32, 96):
        network = build_network("test_vit", outputs=5, size=size).eval()
        images = torch.zeros(2, 3, size, size)
        outputs, _ = outputs_and_embeddings(network, images)
        assert outputs.shape == (2, 5)
        torch.testing.assert_close(outputs, network(images), rtol=0.02, atol=0.02)  # bf16
        assert torch.equal(logits_and_embeddings(network, images)[0], outputs[:, 0])


def test_weights_are_read_as_timm_does_for_another_size_and_without_masks(tmp_path):
    weights = timm.create_model("test_vit", img_size=64).state_dict()
    save_file(weights | {"mask_token": torch.zeros(1, 1, 64)}, tmp_path / "w.safetensors")
    network = build_network("test_vit", pretrained=str(tmp_path / "w.safetensors"), size=96)
    given = network.state_dict()
    assert given["pos_embed"].shape[1] > weights["pos_embed"].shape[1]
    assert torch.equal(given["patch_embed.proj.weight"], weights["patch_embed.proj.weight"])


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match=r"w.safetensors are not those of a test_resnet: missing"):
        build_network("test_resnet", pretrained=str(tmp_path / "w.safetensors"))


def test_missing_file_of_weights_is_named(tmp_path):
    with pytest.raises(BadInput, match=re.escape(f"{tmp_path / 'no.safetensors'} does not exist")):
        build_network("test_resnet", pretrained=str(tmp_path / "no.safetensors"))


def test_input_has_mean_zero_and_sigma_one():
    pixels = np.random.default_rng(0).integers(0, 200, (2500, 8, 8, 3), np.uint8)
    mean, std = pixel_statistics(pixels)
    np.testing.assert_allclose(mean, pixels.mean((0, 1, 2)) / 255, atol=1e-5)
    np.testing.assert_allclose(std, pixels.std((0, 1, 2)) / 255, atol=1e-5)
    images = to_input(torch.from_numpy(pixels), mean, std, torch.device("cpu"))
    assert images.shape == (2500, 3, 8, 8)
    np.testing.assert_allclose(images.mean((0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(images.std((0, 2, 3)), 1, atol=1e-3)


def test_views_are_the_eight_ways_to_look_at_a_square():
    image = torch.arange(27.0).reshape(1, 3, 3, 3)
    grids = {v.numpy().tobytes() for v in views(image, 8)}
    by_hand = [np.rot90(m, k, (2, 3)) for m in (image.numpy(), image.numpy()[:, :, ::-1])
               for k in range(4)]  # fmt: skip
    assert grids == {np.ascontiguousarray(grid).tobytes() for grid in by_hand}
    assert torch.equal(views(image, 1)[0], image)
    assert torch.equal(views(image, 2)[1], image.flip(2, 3))


class Hub(BaseHTTPRequestHandler):
    """Answers as a model hub does: a file by /OWNER/NAME/resolve/REVISION/FILE."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        body = self._answer()
        self.wfile.write(body)

    def _answer(self):
        body = self.files.get(self.path, b"")
        known = any(self.path.split("/resolve/")[0] in path for path in self.files)
        self.send_response(200 if body else 404)
        if not body:
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", '"' + "b" * 40 + '"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine; the library asks it and keeps what it sends in `tmp_path`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", at)
    monkeypatch.setattr(
        huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE",
        at + "/{repo_id}/resolve/{revision}/{filename}",
    )  # fmt: skip
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Hub, "files", {})
    yield Hub.files
    server.shutdown()
    server.server_close()


def test_weights_come_from_a_hub_once_and_are_there_offline(hub):
    imagenet = timm.create_model("test_resnet", num_classes=7)
    address = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
    hub[address] = save(imagenet.state_dict())
    first = build_network("test_resnet", pretrained="hf-hub:timm/test_resnet.r160_in1k")
    assert torch.equal(first.conv1[0].weight, imagenet.conv1[0].weight)
    revision = address.replace("main", "v2")
    hub[revision] = save(timm.create_model("test_resnet").state_dict())
    other = build_network("test_resnet", pretrained="hf-hub:timm/test_resnet.r160_in1k@v2")
    assert other.get_classifier().out_features == 1


def test_pickles_of_a_hub_are_not_taken(hub):
    hub["/timm/old/resolve/main/pytorch_model.bin"] = b"\x80\x04."
    with pytest.raises(BadInput, match=r"hf-hub:timm/old has no model.safetensors, and pickled"):
        build_network("test_resnet", pretrained="hf-hub:timm/old")


def test_a_repository_that_is_not_there_is_named(hub):
    with pytest.raises(BadInput, match=r"hf-hub:nobody/none cannot be had from the hub \(404\)"):
        build_network("test_resnet", pretrained="hf-hub:nobody/none")


def test_without_a_network_it_says_what_to_do(hub, monkeypatch):
    monkeypatch.setattr(
        huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"not on this machine and the hub cannot be reached"):
        build_network("test_resnet", pretrained="hf-hub:timm/test_resnet")


def test_what_is_no_safetensors_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(BadInput, match=r"w.safetensors is not a safetensors file"):
        build_network("test_resnet", pretrained=str(tmp_path / "w.safetensors"))
