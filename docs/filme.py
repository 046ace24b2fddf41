"""O filme de uma aula: uma página que mostra, passo a passo, o que cada thread do servidor fez.

    python servidor.py --rastro aula.jsonl            (a aula; Ctrl+C no fim)
    python docs/filme.py aula.jsonl                   (faz aula.html)
    python docs/filme.py aula.jsonl outro-nome.html

A página é um arquivo só e abre sem rede, em qualquer navegador. O seu texto está em `filme.html`: este programa põe
nela os acontecimentos.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MODELO = Path(__file__).with_name("filme.html")
LUGAR = "null /* os acontecimentos */"
"""Onde, no modelo, eles entram."""

ACONTECIMENTOS = ("recebeu", "guardou", "enviou", "sobrou", "fim", "quer", "tomou", "soltou", "esperou", "filas")


def ler(texto: str) -> tuple[list[dict], int]:
    """Os acontecimentos, pela ordem, e quantos faltam entre eles. `ValueError` se não são os de um rastro.

    A última linha pode estar pela metade: é a de um servidor que morreu.
    """
    inteiras, _, _ = texto.rpartition("\n")
    lidos = []
    for numero, linha in enumerate(inteiras.split("\n") if inteiras else (), start=1):
        try:
            visto = json.loads(linha)
            certo = visto["que"] in ACONTECIMENTOS and isinstance(visto["quem"], str)
            certo = certo and isinstance(visto["n"], int) and isinstance(visto["quando"], (int, float))
        except (ValueError, TypeError, KeyError, RecursionError):
            certo = False
        if not certo:
            raise ValueError(f"a linha {numero} não é de um rastro")
        lidos.append(visto)
    if not lidos:
        raise ValueError("não há nenhum acontecimento")
    lidos.sort(key=lambda visto: visto["n"])
    return lidos, lidos[-1]["n"] - len(lidos)


def pagina(acontecimentos: list[dict], titulo: str) -> str:
    """O HTML. O que as pessoas disseram entra como dado: um `</script>` delas não acaba o nosso."""
    dados = json.dumps({"titulo": titulo, "acontecimentos": acontecimentos}, ensure_ascii=False, separators=(",", ":"))
    for letra in "<>&\u2028\u2029":
        dados = dados.replace(letra, f"\\u{ord(letra):04x}")
    return MODELO.read_text(encoding="utf-8").replace(LUGAR, dados)


def main() -> int:
    """O comando: 0 se fez a página, 1 se não pôde, 2 por uso errado."""
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        print(__doc__.partition("\n\n")[2].partition("\n\n")[0], file=sys.stderr)
        return 2
    origem = Path(sys.argv[1])
    destino = Path(sys.argv[2]) if len(sys.argv) == 3 else origem.with_suffix(".html")
    try:
        acontecimentos, faltam = ler(origem.read_text(encoding="utf-8", errors="replace"))
        destino.write_text(pagina(acontecimentos, origem.stem), encoding="utf-8")
    except ValueError as erro:
        print(f"{origem} não é um rastro: {erro}. Grave um com: python servidor.py --rastro {origem}", file=sys.stderr)
        return 1
    except OSError as erro:
        nao_ha = isinstance(erro, FileNotFoundError)
        print(f"Não foi possível abrir {erro.filename}: {'não existe' if nao_ha else erro.strerror}.", file=sys.stderr)
        return 1
    print(f"{destino}: {len(acontecimentos)} acontecimentos. Abra-o num navegador.")
    if faltam:
        print(f"Faltam {faltam}: o disco não acompanhou a aula.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
