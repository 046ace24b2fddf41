"""Solução 11: reconstruir as conversas a partir do CSV do registro.

    python docs/solucoes/s11_ler_o_registro.py conversas.csv

Uma conversa que não tem `fim` é a de um servidor que morreu: não tem duração, e não se inventa uma.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class Conversa:
    departamento: str = ""
    cliente: str = ""
    atendente: str = ""
    falas: list[tuple[str, str]] = field(default_factory=list)  # (quem, o quê)
    inicio: datetime | None = None
    fim: datetime | None = None

    @property
    def segundos(self) -> float | None:
        """Quanto durou, ou `None` se não se sabe."""
        return (self.fim - self.inicio).total_seconds() if self.inicio and self.fim else None


def ler(linhas: Iterable[str]) -> dict[str, Conversa]:
    """As conversas, na ordem em que começaram. Ignora a linha que um servidor morto deixou pela metade."""
    conversas: dict[str, Conversa] = {}
    for linha in csv.DictReader(linhas):
        if linha["texto"] is None:
            continue
        conversa = conversas.setdefault(linha["conversa"], Conversa(linha["departamento"]))
        match linha["evento"]:  # um Python velho desiste aqui: use o 3.10
            case "inicio":
                conversa.cliente, conversa.atendente = linha["de"], linha["para"]
                conversa.inicio = datetime.fromisoformat(linha["momento"])
            case "mensagem":
                conversa.falas.append((linha["de"], linha["texto"]))
            case "fim":
                conversa.fim = datetime.fromisoformat(linha["momento"])
    return conversas


def medias(conversas: Iterable[Conversa]) -> dict[str, float]:
    """A duração média, em segundos, por departamento."""
    duracoes = defaultdict(list)
    for conversa in conversas:
        if conversa.segundos is not None:
            duracoes[conversa.departamento].append(conversa.segundos)
    return {departamento: sum(valores) / len(valores) for departamento, valores in duracoes.items()}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        with open(sys.argv[1], encoding="utf-8", newline="") as arquivo:
            todas = ler(arquivo)
    except OSError:
        sys.exit(f"Não foi possível ler {sys.argv[1]}: o arquivo existe?")
    for conversa in todas.values():
        print(f"{conversa.cliente} com {conversa.atendente}: {len(conversa.falas)} mensagens, {conversa.segundos} s")
    for departamento, media in medias(todas.values()).items():
        print(f"{departamento or 'sem departamento'}: {media:.0f} s em média")
