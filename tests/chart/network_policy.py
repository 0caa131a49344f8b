"""Pure: what NetworkPolicies let through, as their specification says (policies add up; no policy means everything)."""

import ipaddress


class Pod:
    """`ports`: {name: number} of its containers."""

    def __init__(self, namespace, labels, ports=()):
        self.namespace, self.labels, self.ports = namespace, labels, dict(ports)
        # Kubernetes gives each namespace its name as a label.
        self.namespace_labels = {"kubernetes.io/metadata.name": namespace}


def allowed(policies, source, target, port, protocol="TCP"):
    """Whether `source` reaches `port` of `target`. A target may be an address outside of the cluster."""
    is_pod = isinstance(target, Pod)
    out = _passes(policies, "Egress", source, target, target if is_pod else None, port, protocol)
    return out and (not is_pod or _passes(policies, "Ingress", target, source, target, port, protocol))


def _passes(policies, direction, own, other, target, port, protocol):
    rules_key, peers_key = {"Egress": ("egress", "to"), "Ingress": ("ingress", "from")}[direction]
    in_force = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == own.namespace
        and direction in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], own.labels)
    ]
    if not in_force:
        return True
    rules = [rule for spec in in_force for rule in spec.get(rules_key) or []]
    return any(
        _peer(rule.get(peers_key), own.namespace, other) and _port(rule.get("ports"), target, port, protocol) for rule in rules
    )


def _peer(peers, namespace, other):
    return not peers or any(_is(peer, namespace, other) for peer in peers)


def _is(peer, namespace, other):
    if block := peer.get("ipBlock"):
        return not isinstance(other, Pod) and ipaddress.ip_address(other) in ipaddress.ip_network(block["cidr"])
    if not isinstance(other, Pod):
        return False
    if "namespaceSelector" in peer:
        in_namespace = _selects(peer["namespaceSelector"], other.namespace_labels)
    else:
        in_namespace = other.namespace == namespace
    return in_namespace and _selects(peer.get("podSelector") or {}, other.labels)


def _port(ports, target, port, protocol):
    if not ports:
        return True
    numbers = target.ports if target else {}
    return any(
        numbers.get(one["port"], one["port"]) == port and one.get("protocol", "TCP") == protocol for one in ports
    )


def _selects(selector, labels):
    unknown = set(selector) - {"matchLabels"}
    assert not unknown, f"{unknown} of a selector is not understood here"
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
