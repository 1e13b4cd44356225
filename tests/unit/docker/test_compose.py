"""The Compose files: valid, hardened, and of one mind with the image, the settings and Prometheus."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from app.runtime.shutdown import STOP_MARGIN_S
from app.settings import VARIABLES
from app.settings.descriptors import plan
from tests.e2e.compose import (
    FILES,
    FOLDER,
    ROOT,
    STAGES,
    Missing,
    labels,
    load,
    merged,
    used_variables,
    variables,
)
from tests.e2e.dockerfile import read

SETTINGS = {variable.metadata["name"]: variable.metadata for variable in VARIABLES}
TOGETHER = [
    ["compose.yaml"],
    ["compose.yaml", "compose.traefik.yaml"],
    ["compose.yaml", "compose.traefik.yaml", "compose.bypass-auth.yaml"],
    ["compose.yaml", "compose.observability.yaml"],
    ["compose.yaml", "compose.traefik.yaml", "compose.observability.yaml"],
]
ALL = merged([name for name in FILES if "bypass" not in name], variables("prod"))
SERVICES: dict[str, Any] = ALL["services"]
OURS = ("gateway", "forward-auth")
IMAGE = read()[-1]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("names", TOGETHER, ids="+".join)
def test_every_combination_is_a_valid_project(names: list[str], stage: str) -> None:
    found = PyCompose.from_yaml(yaml.safe_dump(merged(names, variables(stage))))
    assert "gateway" in found.service_names()


def test_compose_itself_takes_them() -> None:
    docker = shutil.which("docker") or "false"
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("the docker command has no compose plugin here; the parser above has looked")
    for names in TOGETHER:
        given = [word for name in names for word in ("-f", name)]
        done = subprocess.run(
            [docker, "compose", "--env-file", "stages/dev.env", *given, "config", "--quiet"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("spoilt", ["bogus: 1", "restart: sometimes", "stop_grace_period: soon"])
def test_that_parser_would_notice(spoilt: str) -> None:
    with pytest.raises(ValueError, match=r"services\.a"):
        PyCompose.from_yaml(f"services:\n  a:\n    image: b\n    {spoilt}\n")


def test_a_version_that_is_missing_is_not_made_out_of_another() -> None:
    for name in OURS:
        assert "build" not in SERVICES[name]


def test_a_domain_must_be_given() -> None:
    with pytest.raises(Missing, match="GATEWAY_DOMAIN"):
        merged(TOGETHER[1], variables("prod") | {"GATEWAY_DOMAIN": ""})


def test_every_setting_in_them_exists_and_only_the_stage_is_fixed() -> None:
    for name in OURS:
        given = SERVICES[name]["environment"]
        assert set(given) <= set(SETTINGS), name
        assert set(given) == {"PROXY_ENV"}, "anything else could not be flipped by a HUP"


def test_both_services_of_ours_have_one_image_and_one_folder_of_settings() -> None:
    gateway, sidecar = (SERVICES[name] for name in OURS)
    assert gateway["image"] == sidecar["image"]
    folders = [[v for v in s["volumes"] if v["type"] == "bind"] for s in (gateway, sidecar)]
    assert folders[0] == folders[1]
    (folder,) = folders[0]
    assert folder["target"] == "/etc/codex-gateway"
    assert f"ln -s {folder['target']}/.env" in IMAGE.one("RUN").text
    assert folder["read_only"] is True
    assert folder["bind"] == {"create_host_path": False}, "a folder by mistake would have no keys"


def test_the_login_lies_in_a_volume_that_is_written_to() -> None:
    (volume,) = [v for v in SERVICES["gateway"]["volumes"] if v["type"] == "volume"]
    assert volume == {
        "type": "volume",
        "source": "codex-home",
        "target": IMAGE.environment["CODEX_HOME"],
    }
    assert "codex-home" in ALL["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_our_services_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is False
    assert {"mem_limit", "pids_limit", "ulimits", "logging"} <= set(service)
    assert all(re.search(r":rw,noexec,nosuid,nodev,size=", mount) for mount in service["tmpfs"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "user"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_and_its_log_turns_over(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit"} <= set(service)
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "docker would open the firewall for it"


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_foreign_images_are_pinned(name: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


def test_the_container_may_stop_for_longer_than_the_service_drains() -> None:
    grace = int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))
    drain = int(SETTINGS["WORKER_SHUTDOWN_GRACE_MS"]["default"]) / 1000
    assert grace > drain + STOP_MARGIN_S


def test_it_may_open_as_many_files_as_it_has_connections() -> None:
    limit = SERVICES["gateway"]["ulimits"]["nofile"]
    streams = int(SETTINGS["PROXY_SSE_MAX_CONCURRENCY"]["default"])
    assert limit >= 32 * streams
    assert plan(8 * streams, 256, soft=limit, hard=limit).lacking == 0


def test_it_may_have_two_children_of_full_size_and_its_bodies() -> None:
    limit = int(SERVICES["gateway"]["mem_limit"].removesuffix("g")) << 30
    child = int(SETTINGS["WORKER_MEMORY_LIMIT_BYTES"]["default"])
    kept = ("PROXY_BODY_MEMORY_BYTES", "PROXY_IMAGE_CACHE_BYTES")
    assert limit > 2 * child + sum(int(SETTINGS[name]["default"]) for name in kept)


def test_the_port_is_the_images() -> None:
    (port,) = SERVICES["gateway"]["ports"]
    assert port.endswith(f":{IMAGE.environment['PORT']}")


def test_stages_have_names_and_ports_of_their_own_and_settings_that_no_checkout_keeps() -> None:
    given = [variables(stage) for stage in STAGES]
    for name in ("COMPOSE_PROJECT_NAME", "GATEWAY_PORT", "GATEWAY_CONFIG"):
        assert len({each[name] for each in given}) == len(STAGES), name
    for stage, each in zip(STAGES, given, strict=True):
        assert each["GATEWAY_STAGE"] == stage
        assert load("compose.yaml", each)["services"]["gateway"]["environment"] == {
            "PROXY_ENV": stage
        }
    assert "docker/config/" in (ROOT / ".gitignore").read_text().splitlines()


def test_stages_set_nothing_that_no_file_reads_and_docs_name_all_that_is_read() -> None:
    read_somewhere = {v for name in FILES for v in used_variables((FOLDER / name).read_text())}
    page = (ROOT / "docs/operations/docker.md").read_text()
    for stage in STAGES:
        assert set(variables(stage)) <= read_somewhere
    for name in read_somewhere:
        assert f"`{name}`" in page, name


def test_prometheus_has_the_rules_the_job_and_the_token_of_the_sample() -> None:
    sample, ours = (
        yaml.safe_load((FOLDER / "prometheus" / name).read_text())
        for name in ("prometheus.yml", "prometheus.compose.yml")
    )
    (wanted,), (job,) = sample.pop("scrape_configs"), ours.pop("scrape_configs")
    assert sample == ours
    (found,) = job.pop("dns_sd_configs")
    assert found["names"] == ["gateway"]
    assert found["port"] == int(IMAGE.environment["PORT"])
    del wanted["static_configs"]
    token = job.pop("authorization")["credentials_file"]
    del wanted["authorization"]
    assert job == wanted
    assert token == "/run/secrets/metrics-token"
    assert "metrics-token" in ALL["secrets"]
    assert SERVICES["prometheus"]["secrets"] == ["metrics-token"]


def test_prometheus_and_grafana_are_given_files_that_exist_where_they_look_for_them() -> None:
    places = {}
    for name in ("prometheus", "grafana"):
        for mount in SERVICES[name]["volumes"]:
            source, target, *mode = mount.split(":")
            if source.startswith("."):
                assert (FOLDER / source).exists(), source
                assert mode == ["ro"]
                places[target] = FOLDER / source
    config = next(c for c in SERVICES["prometheus"]["command"] if c.startswith("--config.file="))
    assert config.partition("=")[2] in places
    provider = yaml.safe_load(
        (places["/etc/grafana/provisioning"] / "dashboards/gateway.yml").read_text()
    )["providers"][0]
    assert (places[provider["options"]["path"]] / "codex-gateway.json").exists()
    source = yaml.safe_load(
        (places["/etc/grafana/provisioning"] / "datasources/prometheus.yml").read_text()
    )["datasources"][0]
    assert source["url"] == "http://prometheus:9090"


def test_labels_are_a_list_since_names_in_a_mapping_are_not_filled_in() -> None:
    for name in ("compose.traefik.yaml", "compose.bypass-auth.yaml"):
        written = yaml.safe_load((FOLDER / name).read_text())["services"]["gateway"]["labels"]
        assert isinstance(written, list)
        assert len(labels({"labels": written})) == len(written)
