#!/usr/bin/env bash
# Makes the certificates of this folder anew: an authority, and four certificates of one key. For tests on loopback only.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

authority() { # file subject
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$1.key" -out "$work/$1.pem" \
    -days 36500 -subj "/CN=$2" -addext "keyUsage=critical,keyCertSign" 2>/dev/null
  touch "$work/$1.index"
}

issue() { # file authority names from to
  openssl req -new -key key.pem -out "$work/$1.csr" -subj "/CN=mock" 2>/dev/null
  printf 'subjectAltName=%s\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n' "$3" >"$work/$1.ext"
  printf '[ca]\ndefault_ca=it\n[it]\ndatabase=%s\nnew_certs_dir=%s\nunique_subject=no\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n' \
    "$work/$2.index" "$work" >"$work/$1.conf"
  openssl ca -batch -config "$work/$1.conf" -cert "$work/$2.pem" -keyfile "$work/$2.key" -in "$work/$1.csr" \
    -out "$1.pem" -notext -startdate "$4" -enddate "$5" -extfile "$work/$1.ext" 2>/dev/null
}

openssl ecparam -name prime256v1 -genkey -noout -out key.pem
authority authority "EzAI test authority"
authority stranger "Nobody trusts this one"
issue good authority "DNS:localhost,IP:127.0.0.1" 20260101000000Z 21251231000000Z
issue expired authority "DNS:localhost,IP:127.0.0.1" 20200101000000Z 20200201000000Z
issue other_name authority "DNS:elsewhere.example" 20260101000000Z 21251231000000Z
issue untrusted stranger "DNS:localhost,IP:127.0.0.1" 20260101000000Z 21251231000000Z
cp "$work/authority.pem" authority.pem
