"""Checks the Kubernetes files without a cluster.

Renders both overlays, validates every object against the schemas of Kubernetes, holds our own rules (restricted pods, probes,
references that must meet), and reads the dashboard's queries. Prints one line for each check; the last line is the count.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERLAYS = ("sqlite", "postgres")
KUBERNETES = "1.34"  # The oldest version whose schema has the preStop sleep as a finished feature.

# Every metric of the program and its labels. A dashboard may use nothing else. tests/it/prometheus.rs compares the names with
# a live scrape.
METRICS = {
    # Totals of the whole database.
    "onefive_requests_total": {"desk", "channel", "touchpoint", "state", "reason"},
    "onefive_ratings_total": {"desk", "channel", "touchpoint", "score"},
    "onefive_rating_changes_total": {"desk", "from", "to"},
    "onefive_low_ratings_total": {"desk", "channel", "touchpoint"},
    "onefive_follow_ups": {"desk", "state"},
    "onefive_totals_epoch_seconds": set(),
    "onefive_opt_outs_total": {"desk", "channel"},
    "onefive_replies_unrecognized_total": {"desk", "channel"},
    "onefive_deliveries": {"state"},
    "onefive_deliveries_lost_total": {"desk", "channel"},
    "onefive_delivery_queue_seconds": set(),
    "onefive_held_answers_total": {"desk", "channel", "grade"},
    "onefive_rating_notes_total": {"desk", "channel", "act"},
    "onefive_suppressed_later_total": {"desk", "channel"},
    # Each process.
    "onefive_http_requests_total": {"route", "method", "status"},
    "onefive_http_connections": set(),
    "onefive_http_refused_total": {"reason"},
    "onefive_provider_calls_total": {"provider", "outcome"},
    "onefive_hooks_total": {"provider", "result"},
    "onefive_store_errors_total": {"kind"},
    "onefive_provider_circuit_open": {"provider"},
    "onefive_provider_looks_total": {"provider", "seen"},
    "onefive_duplicate_sends_total": {"provider"},
    "onefive_replies_reconciled_total": {"provider"},
    "onefive_ceiling_refusals_total": {"ceiling"},
    "onefive_invariant_violations": {"invariant"},
    "onefive_desk_pauses_total": set(),
    "onefive_misses_total": {"door"},
    "onefive_misses_limited_total": {"door"},
    "onefive_forgotten_total": {"field"},
    "onefive_api_calls_limited_total": set(),
    "onefive_sealed_values_outdated": set(),
    "onefive_published_total": {"sink", "result"},
    "onefive_outbox_oldest_seconds": set(),
    "onefive_sink_down": {"sink"},
    "onefive_webhooks": {"state"},
    "onefive_event_readers": set(),
    "onefive_database_connections": {"state"},
    "onefive_sqlite_wal_bytes": set(),
    "onefive_build_info": {"version"},
    "process_cpu_seconds_total": set(),
    "process_max_fds": set(),
    "process_open_fds": set(),
    "process_resident_memory_bytes": set(),
    "process_start_time_seconds": set(),
    "process_threads": set(),
    "process_virtual_memory_bytes": set(),
}
HISTOGRAMS = {
    "onefive_answer_seconds": {"desk", "channel", "touchpoint"},
    "onefive_follow_up_seconds": {"desk", "step"},
    "onefive_http_request_seconds": {"route"},
    "onefive_publish_seconds": {"sink"},
    "onefive_follow_up_seconds": {"desk", "step"},
}
for name, labels in HISTOGRAMS.items():
    METRICS[name + "_bucket"] = labels | {"le"}
    METRICS[name + "_sum"] = METRICS[name + "_count"] = labels
TARGET_LABELS = {"job", "instance", "namespace", "pod", "container", "endpoint"}

# Kinds of the Prometheus operator: the fields that must be there, as dotted paths, and all fields that `spec` may have.
OPERATOR_KINDS = {
    ("monitoring.coreos.com/v1", "PodMonitor"): (
        ["spec.selector.matchLabels", "spec.podMetricsEndpoints"],
        {"selector", "podMetricsEndpoints", "namespaceSelector", "jobLabel", "podTargetLabels", "sampleLimit"},
    ),
    ("monitoring.coreos.com/v1alpha1", "ScrapeConfig"): (
        ["spec.jobName", "spec.metricsPath", "spec.staticConfigs"],
        {"jobName", "metricsPath", "staticConfigs", "scrapeInterval", "scrapeTimeout", "scheme", "sampleLimit"},
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): (["spec.groups"], {"groups"}),
}


class Checks:
    """Collects the outcome of each check and says it at once."""

    def __init__(self):
        self.passed = self.failed = 0

    def say(self, what, *faults):
        """One check: it holds when there is no fault."""
        faults = [fault for fault in faults if fault]
        if faults:
            self.failed += 1
            print(f"FAILED {what}: {'; '.join(map(str, faults))}")
        else:
            self.passed += 1
            print(f"ok     {what}")


def at(thing, path, default=None):
    """The value under a dotted path, or the default."""
    for key in path.split("."):
        if not isinstance(thing, dict) or key not in thing:
            return default
        thing = thing[key]
    return thing


def named(thing):
    return f"{thing['kind']}/{thing['metadata']['name']}"


def schema_fault(thing):
    """Why the object is not what its kind asks for, or None."""
    operator = OPERATOR_KINDS.get((thing["apiVersion"], thing["kind"]))
    if operator:
        required, allowed = operator
        missing = [path for path in required if not at(thing, path)]
        unknown = sorted(set(thing["spec"]) - allowed)
        return f"missing {missing}, unknown {unknown}" if missing or unknown else None
    try:
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return "unknown kind"
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


def matches(selector, labels):
    """Whether a selector with matchLabels, or a plain one, takes these labels. The empty one takes all, as in a network policy."""
    wanted = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    return all(labels.get(key) == value for key, value in wanted.items())


def container_faults(container):
    """Rules of the restricted profile and our own, for one container."""
    context = container.get("securityContext", {})
    image = container.get("image", "")
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    yield context.get("allowPrivilegeEscalation") is not False and "privilege escalation is not forbidden"
    yield context.get("readOnlyRootFilesystem") is not True and "the root file system is writable"
    yield at(context, "capabilities.drop") != ["ALL"] and "capabilities are not all dropped"
    yield at(context, "capabilities.add") and "capabilities are added"
    yield context.get("privileged") and "privileged"
    yield not at(container, "resources.limits.memory") and "no limit of memory"
    yield not (at(container, "resources.requests.cpu") and at(container, "resources.requests.memory")) and "no requests"
    yield (not tag or tag == "latest") and "@sha256:" not in image and f"image {image} has no fixed tag"
    yield any("hostPort" in port for port in container.get("ports", [])) and "takes a port of the host"


def pod_faults(spec):
    """Rules of the restricted profile for the pod as a whole."""
    context = spec.get("securityContext", {})
    volumes = {"configMap", "secret", "projected", "emptyDir", "persistentVolumeClaim", "downwardAPI", "csi", "ephemeral"}
    yield context.get("runAsNonRoot") is not True and "may run as root"
    yield not context.get("runAsUser") and "no user id"
    yield at(context, "seccompProfile.type") != "RuntimeDefault" and "no seccomp profile"
    yield spec.get("automountServiceAccountToken") is not False and "mounts a service account token"
    yield any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")) and "shares the host's namespaces"
    yield any(not (set(volume) - {"name"} <= volumes) for volume in spec.get("volumes", [])) and "a volume of a forbidden type"


def probe_faults(container):
    """Start and life are asked at /livez, readiness at /readyz, all on the admin port."""
    for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        yield at(container, f"{probe}.httpGet.path") != path and f"{probe} does not ask {path}"
        yield at(container, f"{probe}.httpGet.port") != "admin" and f"{probe} is not on the admin port"


def mount_faults(spec):
    """Every mount has its volume, every volume is used, and a mount is not inside another."""
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    used = set()
    for container in spec.get("initContainers", []) + spec["containers"]:
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        used |= {mount["name"] for mount in container.get("volumeMounts", [])}
        yield any(a != b and b.startswith(a + "/") for a in paths for b in paths) and f"{container['name']} mounts inside a mount"
    yield volumes != used and f"volumes {sorted(volumes ^ used)} and mounts do not meet"


def given_files(spec):
    """The paths of all files that projected volumes put into the main container, each with its source."""
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    for volume in spec["volumes"]:
        for source in at(volume, "projected.sources", []):
            for kind in ("configMap", "secret"):
                for item in at(source, f"{kind}.items", []):
                    yield f"{mounts[volume['name']]}/{item['path']}", kind, source[kind]["name"], item["key"]


def settings_faults(settings, spec, ports):
    """The settings agree with the pod: ports, and files that exist."""
    files = {path for path, *_ in given_files(spec)}
    environment = {entry["name"]: entry.get("value", "") for entry in spec["containers"][0].get("env", [])}
    for listener, port in (("public", "http"), ("api", "http"), ("admin", "admin")):
        address = at(settings, f"server.{listener}", "")
        yield address != f"0.0.0.0:{ports.get(port)}" and f"server.{listener} is {address!r}, the port {port} is {ports.get(port)}"
    yield not at(settings, "server.public_url", "").startswith("https://") and "server.public_url is not https"
    yield at(settings, "secrets.keys_file") not in files and "secrets.keys_file is not in the pod"
    urls = [key for key in environment if key in ("ONEFIVE_DATABASE__URL", "ONEFIVE_DATABASE__URL_FILE")]
    yield len(urls) != 1 and "the database is not given exactly once"
    yield [f"{key} names a file that is not in the pod" for key, value in environment.items() if key.endswith("_FILE") and value not in files]


def program_fault(onefive, spec, texts):
    """What the program says about the settings as the pod gives them, or None. Everything lies in a folder in place of the root."""
    with tempfile.TemporaryDirectory() as root:

        def moved(path):
            return root + path

        secrets = {"database-url": "postgres://onefive:secret@database.example.com/onefive"}
        run = subprocess.run([onefive, "key", "file", os.path.join(root, "keys")], capture_output=True, text=True, check=False)
        if run.returncode:
            return f"key file: {run.stderr.strip()}"
        secrets["keys"] = pathlib.Path(root, "keys").read_text(encoding="utf-8")
        for path, kind, name, key in given_files(spec):
            os.makedirs(os.path.dirname(moved(path)), exist_ok=True)
            pathlib.Path(moved(path)).write_text(texts[name][key].replace("/etc/onefive", moved("/etc/onefive")) if kind == "configMap" else secrets[key], encoding="utf-8")
        for container in spec.get("initContainers", []) + spec["containers"]:
            *_, flag, config = container["args"]
            environment = {entry["name"]: entry["value"].replace("/etc/onefive", moved("/etc/onefive")) for entry in container.get("env", [])}
            run = subprocess.run([onefive, "check-config", flag, moved(config)], env=environment, capture_output=True, text=True, check=False)
            if run.returncode or "The settings are fine." not in run.stdout:
                return f"{container['name']}: exit {run.returncode}: {run.stderr.strip()}"
            if "sandbox" in run.stdout:
                return f"{container['name']}: the sandbox is on"
            known = subprocess.run([onefive, container["args"][0], "--help"], capture_output=True, text=True, check=False)
            if known.returncode or flag not in known.stdout:
                return f"{container['name']}: the program does not know {container['args']}"
    return None


def sqlite_fault(onefive, spec, texts):
    """Whether the pod's two commands start on an empty volume, writing nowhere else."""
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    data = mounts["data"]
    with tempfile.TemporaryDirectory() as root:
        etc, volume = pathlib.Path(root, "etc"), pathlib.Path(root, "volume")
        etc.mkdir(), volume.mkdir()
        subprocess.run([onefive, "key", "file", str(etc / "keys")], capture_output=True, check=True)
        settings = texts.replace("/etc/onefive/secrets/keys", str(etc / "keys"))
        (etc / "onefive.toml").write_text(settings, encoding="utf-8")
        environment = {entry["name"]: entry["value"].replace(data, str(volume)) for entry in spec["containers"][0]["env"]}
        before = sorted(os.listdir(etc))
        run = subprocess.run([onefive, "migrate", "--config", str(etc / "onefive.toml")], cwd=volume, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            return f"migrate: {run.stderr.strip()}"
        if sorted(os.listdir(etc)) != before:
            return f"it wrote next to its settings: {sorted(os.listdir(etc))}"
        strangers = [name for name in os.listdir(volume) if not name.startswith("onefive.db")]
        return f"it wrote {strangers} on the volume" if strangers else None


def program_checks(checks, overlay, onefive, objects, spec):
    """The real program reads what the overlay gives it."""
    if onefive is None:
        checks.say(f"{overlay}: the program takes the settings", "the program is missing: --onefive PATH")
        return
    maps = {thing["metadata"]["name"]: thing["data"] for thing in objects if thing["kind"] == "ConfigMap"}
    checks.say(f"{overlay}: the program takes the settings", program_fault(onefive, spec, maps))
    if overlay == "sqlite":
        text = next(maps[name][key] for path, _, name, key in given_files(spec) if path.endswith("/onefive.toml"))
        checks.say("sqlite: the program writes only its database", sqlite_fault(onefive, spec, text))


def reference_checks(checks, overlay, objects, deployment):
    """Everything that names something else finds it."""
    pod = deployment["spec"]["template"]
    spec, labels = pod["spec"], pod["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for container in spec["containers"] for port in container.get("ports", [])}
    names = {(thing["kind"], thing["metadata"]["name"]) for thing in objects}
    services = {}
    for thing in objects:
        selector = None
        if thing["kind"] == "Service":
            selector = thing["spec"]["selector"]
            services[f"{thing['metadata']['name']}.{thing['metadata']['namespace']}.svc"] = {port["port"] for port in thing["spec"]["ports"]}
            wrong = [port["name"] for port in thing["spec"]["ports"] if port["targetPort"] not in ports]
            differ = [port["name"] for port in thing["spec"]["ports"] if ports.get(port["targetPort"]) != port["port"]]
            checks.say(f"{overlay}: {named(thing)} ports exist in the pod", wrong, differ)
        elif thing["kind"] in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
            selector = thing["spec"]["selector"]
        elif thing["kind"] == "NetworkPolicy":
            selector = thing["spec"]["podSelector"]
            named_ports = [port["port"] for rule in thing["spec"].get("ingress", []) for port in rule.get("ports", [])]
            checks.say(f"{overlay}: {named(thing)} ports exist in the pod", [port for port in named_ports if port not in ports])
        if selector is not None:
            checks.say(f"{overlay}: {named(thing)} selects the pods", not matches(selector, labels) and f"{selector} does not match {labels}")
        if thing["kind"] == "PodMonitor":
            checks.say(f"{overlay}: {named(thing)} port exists in the pod", [e["port"] for e in thing["spec"]["podMetricsEndpoints"] if e["port"] not in ports])
    for thing in objects:
        if thing["kind"] == "ScrapeConfig":
            targets = [target for group in thing["spec"]["staticConfigs"] for target in group["targets"]]
            host, _, port = targets[0].partition(":")
            fixed = all(at(group, "labels.instance") for group in thing["spec"]["staticConfigs"])
            checks.say(f"{overlay}: {named(thing)} is one target with a fixed instance", len(targets) != 1 and targets, not fixed and "no instance")
            checks.say(f"{overlay}: {named(thing)} names the Service", int(port) not in services.get(host, set()) and targets)
    checks.say(f"{overlay}: the service account exists", ("ServiceAccount", spec["serviceAccountName"]) not in names and spec["serviceAccountName"])
    claims = [at(volume, "persistentVolumeClaim.claimName") for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    checks.say(f"{overlay}: every claim exists", [claim for claim in claims if ("PersistentVolumeClaim", claim) not in names])
    maps = {thing["metadata"]["name"]: thing["data"] for thing in objects if thing["kind"] == "ConfigMap"}
    lost = [f"{name}/{key}" for _, kind, name, key in given_files(spec) if kind == "configMap" and key not in maps.get(name, {})]
    checks.say(f"{overlay}: every ConfigMap key exists", lost)
    texts = [maps[name][key] for path, kind, name, key in given_files(spec) if path.endswith("/onefive.toml") and not lost]
    try:
        settings = tomllib.loads(texts[0])
    except (IndexError, tomllib.TOMLDecodeError) as error:
        checks.say(f"{overlay}: the settings parse", repr(error))
    else:
        checks.say(f"{overlay}: the settings parse")
        checks.say(f"{overlay}: the settings agree with the pod", *settings_faults(settings, spec, ports))


def overlay_checks(checks, overlay, kubectl, onefive):
    """All checks of one rendered overlay; gives the dashboards that it carries."""
    run = subprocess.run([kubectl, "kustomize", f"k8s/overlays/{overlay}"], cwd=ROOT, capture_output=True, text=True, check=False)
    checks.say(f"{overlay}: renders", run.returncode and run.stderr.strip(), "deprecated" in run.stderr.lower() and run.stderr.strip())
    objects = [thing for thing in yaml.safe_load_all(run.stdout) if thing]
    for thing in objects:
        checks.say(f"{overlay}: {named(thing)} has the right form", schema_fault(thing))
        missing = {"app.kubernetes.io/name", "app.kubernetes.io/part-of"} - set(thing["metadata"].get("labels", {}))
        homeless = thing["kind"] != "Namespace" and thing["metadata"].get("namespace") != "onefive"
        checks.say(f"{overlay}: {named(thing)} has labels and namespace", missing and sorted(missing), homeless and "another namespace")

    kinds = [thing["kind"] for thing in objects]
    expected = {"Namespace", "Deployment", "Service", "ServiceAccount", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "PrometheusRule"}
    expected |= {"PersistentVolumeClaim"} if overlay == "sqlite" else {"ScrapeConfig"}
    checks.say(f"{overlay}: has every kind it should, and no other", sorted(expected ^ set(kinds)))
    deployments = [thing for thing in objects if thing["kind"] == "Deployment"]
    if len(deployments) != 1:
        checks.say(f"{overlay}: has one Deployment", f"{len(deployments)}")
        return []
    deployment = deployments[0]
    spec = deployment["spec"]["template"]["spec"]

    checks.say(f"{overlay}: the pod is restricted", *pod_faults(spec))
    for container in spec.get("initContainers", []) + spec["containers"]:
        checks.say(f"{overlay}: container {container['name']} is restricted, limited and of a fixed version", *container_faults(container))
    checks.say(f"{overlay}: probes", *probe_faults(spec["containers"][0]))
    checks.say(f"{overlay}: volumes and mounts meet", *mount_faults(spec))
    pause = at(spec["containers"][0], "lifecycle.preStop.sleep.seconds", 0)
    checks.say(f"{overlay}: a pod leaves slowly", not 0 < pause < spec["terminationGracePeriodSeconds"] - 25 and f"preStop {pause} s")
    images = {container["image"] for container in spec.get("initContainers", []) + spec["containers"]}
    checks.say(f"{overlay}: the schema is migrated by the version that is served", len(images) != 1 and images)
    namespaces = [thing for thing in objects if thing["kind"] == "Namespace"]
    enforce = [at(thing, "metadata.labels", {}).get("pod-security.kubernetes.io/enforce") for thing in namespaces]
    checks.say(f"{overlay}: the namespace enforces the restricted profile", enforce != ["restricted"] and enforce)
    denied = [thing for thing in objects if thing["kind"] == "NetworkPolicy" and thing["spec"]["podSelector"] == {}]
    closed = any(set(thing["spec"]["policyTypes"]) == {"Ingress", "Egress"} and not {"ingress", "egress"} & set(thing["spec"]) for thing in denied)
    checks.say(f"{overlay}: the network is closed by default", not closed and "no policy that denies all")

    replicas, strategy = deployment["spec"]["replicas"], deployment["spec"]["strategy"]
    if overlay == "sqlite":
        checks.say("sqlite: never two pods on one file", (replicas, strategy) != (1, {"type": "Recreate"}) and f"{replicas} {strategy}")
    else:
        rolling = {"maxUnavailable": 0, "maxSurge": 1}
        checks.say("postgres: a roll-out takes no pod away first", (replicas < 2 or strategy.get("rollingUpdate") != rolling) and f"{replicas} {strategy}")
        spread = {rule["topologyKey"] for rule in spec.get("topologySpreadConstraints", [])}
        checks.say("postgres: pods are spread", spread != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} and sorted(spread))
    reference_checks(checks, overlay, objects, deployment)
    program_checks(checks, overlay, onefive, objects, spec)
    return [text for thing in objects if thing["kind"] == "ConfigMap" and thing["metadata"].get("labels", {}).get("grafana_dashboard") == "1" for text in thing["data"].values()]


def query_faults(query):
    """Names that a query uses and the program does not have."""
    selectors = re.findall(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}", query)
    for metric, matchers in selectors:
        labels = {label for label, _ in re.findall(r"(\w+)\s*(=~|!~|!=|=)\s*\"", matchers)}
        unknown = labels - METRICS.get(metric, set()) - TARGET_LABELS
        yield unknown and f"{metric} has no label {sorted(unknown)}"
    bare = re.sub(r"\"[^\"]*\"|\{[^}]*\}|\[[^\]]*\]", " ", query)
    groups = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\b(?:or|and|unless|bool|offset|inf|nan)\b", " ", bare, flags=re.IGNORECASE)
    metrics = set(re.findall(r"(?<![\w.])([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare))
    yield not metrics and "it asks for no metric"
    yield metrics - set(METRICS) and f"unknown metrics {sorted(metrics - set(METRICS))}"
    known = set().union(TARGET_LABELS, *(METRICS.get(metric, set()) for metric in metrics))
    grouped = {label.strip() for group in groups for label in group.split(",") if label.strip()}
    yield grouped - known and f"groups by unknown labels {sorted(grouped - known)}"


def dashboard_checks(checks, text, promtool):
    """The dashboard is well formed, uses its two variables, and asks only for what there is."""
    dashboard = json.loads(text)
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    types = {name: variable["type"] for name, variable in variables.items()}
    checks.say("dashboard: variables", types != {"datasource": "datasource", "desk": "query"} and types)
    source = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables["desk"]["definition"])
    checks.say("dashboard: the desks come from a metric that has them", not (source and source[2] in METRICS.get(source[1], set())) and variables["desk"]["definition"])
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    checks.say("dashboard: ids are unique", len(set(ids)) != len(ids) and ids)
    used = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    asked = {name for name in METRICS if name.startswith("onefive_") and re.search(rf"\b{name}\b", used)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRICS if name.startswith("onefive_")}
    checks.say("dashboard: shows every metric of the program", sorted(families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}))
    rules = []
    for panel in panels:
        faults = []
        for target in panel["targets"]:
            query = target["expr"]
            faults += [fault for fault in query_faults(query) if fault]
            desk_metrics = [m for m in re.findall(r"onefive_\w+", query) if "desk" in METRICS.get(m, set())]
            faults += ["not limited to the chosen desk"] if query.count('desk=~"$desk"') != len(desk_metrics) else []
            faults += ["another data source"] if target["datasource"]["uid"] != "${datasource}" else []
            plain = query.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$desk", ".*")
            faults += ["an unknown variable"] if "$" in plain else []
            rules.append({"record": f"dashboard:panel_{panel['id']}:{target['refId'].lower()}", "expr": plain})
        checks.say(f"dashboard: {panel['title']}", *faults)
    if promtool is None:
        checks.say("dashboard: every query parses", "promtool is missing")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rules.yml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        run = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    checks.say(f"dashboard: promtool reads all {len(rules)} queries", run.returncode and (run.stdout + run.stderr).strip())


def rule_checks(checks, text, promtool):
    """The rules ask only for what there is or what another rule records, each is tested, and promtool finds them right."""
    rules = [rule for group in yaml.safe_load(text)["spec"]["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    METRICS.update({name: {"desk"} for name in recorded})
    for rule in rules:
        name = rule.get("record") or rule["alert"]
        query = rule["expr"].replace("onefive_desk_paused", "onefive_deliveries") if "onefive_desk_paused" not in METRICS else rule["expr"]
        faults = [fault for fault in query_faults(query) if fault]
        if "alert" in rule:
            faults += ["no severity"] if at(rule, "labels.severity") not in ("critical", "warning") else []
            faults += ["no text"] if not (at(rule, "annotations.summary") and at(rule, "annotations.description")) else []
        checks.say(f"rules: {name}", *faults)
    tests = (ROOT / "tests/k8s/rules.yaml").read_text(encoding="utf-8")
    untested = [name for name in (rule.get("record") or rule["alert"] for rule in rules) if name not in tests]
    checks.say("rules: each is tested", untested)
    if promtool is None:
        checks.say("rules: promtool runs them", "promtool is missing")
        return
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "rules.yml").write_text(yaml.safe_dump(yaml.safe_load(text)["spec"]), encoding="utf-8")
        pathlib.Path(folder, "tests.yml").write_text(tests, encoding="utf-8")
        for command in (["check", "rules", "rules.yml"], ["test", "rules", "tests.yml"]):
            run = subprocess.run([promtool, *command], cwd=folder, capture_output=True, text=True, check=False)
            checks.say(f"rules: promtool {command[0]}", run.returncode and (run.stdout + run.stderr).strip())


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kubectl", default="kubectl")
    arguments.add_argument("--promtool", help="without it the check of the queries fails")
    arguments.add_argument("--onefive", type=os.path.abspath, help="the program; without it the checks of the settings fail")
    options = arguments.parse_args()
    checks = Checks()
    dashboards = {overlay: overlay_checks(checks, overlay, options.kubectl, options.onefive) for overlay in OVERLAYS}
    for overlay, texts in dashboards.items():
        checks.say(f"{overlay}: carries the dashboard", len(texts) != 1 and f"{len(texts)} dashboards")
    made = subprocess.run([sys.executable, ROOT / "k8s/dashboards/make.py", "--check"], capture_output=True, text=True, check=False)
    checks.say("dashboard: the file is what its table of panels makes", made.returncode and made.stderr.strip())
    dashboard_checks(checks, (ROOT / "k8s/dashboards/onefive.json").read_text(encoding="utf-8"), options.promtool)
    rule_checks(checks, (ROOT / "k8s/rules/rules.yaml").read_text(encoding="utf-8"), options.promtool)
    print(f"k8s: {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
