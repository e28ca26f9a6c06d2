"""Prints the software bill of materials of the binaries: CycloneDX 1.5 in JSON (https://cyclonedx.org/docs/1.5/json/).

In: the output of `cargo metadata --format-version 1 --locked --filter-platform TARGET` on standard input, and Cargo.lock, whose path is the
argument. Out: the crates that are linked into the binaries or run while they are built, with versions, licenses, checksums, and
which needs which. The same input prints the same text.
"""

import json
import sys
import tomllib
import uuid


def main() -> None:
    metadata = json.load(sys.stdin)
    with open(sys.argv[1], "rb") as file:
        locked = tomllib.load(file)["package"]
    checksums = {(it["name"], it["version"]): it.get("checksum") for it in locked}
    packages = {package["id"]: package for package in metadata["packages"]}
    needs = {
        node["id"]: [
            dependency["pkg"]
            for dependency in node["deps"]
            # Not what only tests use.
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
        ]
        for node in metadata["resolve"]["nodes"]
    }
    root = metadata["resolve"]["root"]
    reached, waiting = {root}, [root]
    while waiting:
        for need in needs[waiting.pop()]:
            if need not in reached:
                reached.add(need)
                waiting.append(need)

    def component(id: str) -> dict:
        package = packages[id]
        name, version = package["name"], package["version"]
        purl = f"pkg:cargo/{name}@{version}"
        made = {
            "type": "application" if id == root else "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }
        if package["license"]:
            # The older form of "or".
            made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if checksum := checksums.get((name, version)):
            made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        return made

    made = {id: component(id) for id in sorted(reached)}
    libraries = sorted((made[id] for id in reached - {root}), key=lambda it: it["bom-ref"])
    dependencies = [
        {
            "ref": made[id]["bom-ref"],
            "dependsOn": sorted({made[need]["bom-ref"] for need in needs[id]}),
        }
        for id in sorted(reached, key=lambda id: made[id]["bom-ref"])
    ]
    content = json.dumps([libraries, dependencies], sort_keys=True)
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": made[root]},
        "components": libraries,
        "dependencies": dependencies,
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


main()
