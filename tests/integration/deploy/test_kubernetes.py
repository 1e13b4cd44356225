"""The manifests of deploy/kubernetes, as kubectl builds them."""

from __future__ import annotations

import math
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from app.observability.gauges import Gauges
from app.observability.metrics import Metrics
from app.runtime.shutdown import STOP_MARGIN_S
from app.settings import VARIABLES, load_settings
from tests.e2e.harness import KEY, ROOT

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        shutil.which("kubectl") is None, reason="kubectl 1.27 or newer is in no package of Debian's"
    ),
]

KUBERNETES = ROOT / "deploy" / "kubernetes"
LABELS = {"app.kubernetes.io/name": "codex-gateway"}
Manifests = dict[tuple[str, str], Any]


def built(name: str) -> Manifests:
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / name)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    documents = list(yaml.safe_load_all(done.stdout))
    found = {(entry["kind"], entry["metadata"]["name"]): entry for entry in documents}
    assert len(found) == len(documents)
    return found


@pytest.fixture(scope="module", params=["base", "api-key"])
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return built(request.param)


def one(manifests: Manifests, kind: str) -> Any:
    (found,) = [entry for (its_kind, _), entry in manifests.items() if its_kind == kind]
    return found


def container(manifests: Manifests) -> Any:
    (found,) = one(manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    return found


def test_everything_is_in_the_namespace(manifests: Manifests) -> None:
    for (kind, name), entry in manifests.items():
        assert kind == "Namespace" or entry["metadata"]["namespace"] == "codex-gateway", name


def test_selectors_find_the_pods(manifests: Manifests) -> None:
    workload = one(manifests, "StatefulSet")["spec"]
    assert workload["template"]["metadata"]["labels"] == LABELS
    assert workload["selector"]["matchLabels"] == LABELS
    assert manifests["Service", "codex-gateway"]["spec"]["selector"] == LABELS
    assert manifests["Service", workload["serviceName"]]["spec"]["clusterIP"] == "None"
    assert one(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABELS
    assert one(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == LABELS


def test_probes_ask_what_they_are_for(manifests: Manifests) -> None:
    probes = container(manifests)
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert probes["startupProbe"]["httpGet"]["path"] == "/livez"


def test_a_pod_has_time_to_finish(manifests: Manifests) -> None:
    pod = one(manifests, "StatefulSet")["spec"]["template"]["spec"]
    (_, before_s) = container(manifests)["lifecycle"]["preStop"]["exec"]["command"]
    grace_s = math.ceil(load_settings({"PROXY_API_KEY": KEY}).shutdown_grace_ms / 1000)
    needed_s = int(before_s) + grace_s + STOP_MARGIN_S
    assert pod["terminationGracePeriodSeconds"] > needed_s + 10


def test_a_client_comes_back_for_as_long_as_its_conversation_is_kept(manifests: Manifests) -> None:
    service = manifests["Service", "codex-gateway"]["spec"]
    kept_s = load_settings({"PROXY_API_KEY": KEY}).kept_thread_ttl_s
    assert service["sessionAffinity"] == "ClientIP"
    assert service["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] == kept_s


def test_the_pod_may_do_nothing_that_it_does_not_need(manifests: Manifests) -> None:
    pod = one(manifests, "StatefulSet")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    its = container(manifests)["securityContext"]
    assert its["readOnlyRootFilesystem"] is True
    assert its["allowPrivilegeEscalation"] is False
    assert its["capabilities"] == {"drop": ["ALL"]}


def test_every_setting_that_is_named_is_one(manifests: Manifests) -> None:
    known = {variable.metadata["name"] for variable in VARIABLES}
    secret = yaml.safe_load((KUBERNETES / "secret.example.yaml").read_text())
    (settings,) = [entry["data"] for (kind, _), entry in manifests.items() if kind == "ConfigMap"]
    assert set(settings) | set(secret["stringData"]) <= known
    # The profile for production takes them, once the keys are there.
    keys = {name: f"{name}-7yQ2mV7xK4tB1wZ8cR5y" for name in secret["stringData"]}
    keys |= {name: v for name, v in secret["stringData"].items() if v.startswith("redis://")}
    load_settings(settings | keys)
    named = [entry["secretRef"]["name"] for entry in container(manifests)["envFrom"][1:]]
    assert named == [secret["metadata"]["name"]]


def test_a_login_stays_with_its_one_replica() -> None:
    workload = one(built("base"), "StatefulSet")["spec"]
    assert workload["replicas"] == 1
    assert workload["volumeClaimTemplates"][0]["metadata"]["name"] == "home"
    assert not [kind for kind, _ in built("base") if kind == "HorizontalPodAutoscaler"]


def test_with_an_api_key_the_queue_says_how_many() -> None:
    manifests = built("api-key")
    workload = one(manifests, "StatefulSet")["spec"]
    assert "volumeClaimTemplates" not in workload
    assert "replicas" not in workload
    scaling = one(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaling["scaleTargetRef"]["name"] == "codex-gateway"
    (metric,) = scaling["metrics"]
    everything = Metrics()
    Gauges(everything, lambda: pytest.fail("nothing is read"))
    assert metric["pods"]["metric"]["name"] in everything.registry._names_to_collectors
    assert scaling["minReplicas"] > 1
