#!/bin/sh
# Make the base image without a registry: base.sh SUITE PACKAGE,PACKAGE… REFERENCE POLICY
set -eu
suite=$1 packages=$2 reference=$3 policy=$4

container=$(buildah from --signature-policy "$policy" scratch)
root=$(buildah mount "$container")
debootstrap --variant=minbase --include="$packages" "$suite" "$root" >&2
# What slim images leave out: downloads, manuals, other languages; and devices, which every runtime makes.
for folder in var/cache/apt var/lib/apt/lists var/log usr/share/doc usr/share/man usr/share/info \
    usr/share/locale usr/share/lintian usr/share/bash-completion dev; do
    find "$root/$folder" -mindepth 1 -delete
done
buildah umount "$container" >/dev/null
buildah commit --quiet --rm --signature-policy "$policy" "$container" "$reference"
