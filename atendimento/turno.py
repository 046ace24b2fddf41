"""O que aconteceu no turno, em números: atendimentos, esperas e durações, por departamento.

Só contas: quem as guarda sob a trava, e diz quando algo aconteceu, são as filas.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

RECENTES = 20
"""Atendimentos de cuja duração sai a espera estimada."""


@dataclass(slots=True)
class Movimento:
    """O turno de um departamento. Os tempos são em segundos."""

    esperas: int = 0  # dos que foram atendidos
    espera_total: float = 0.0
    espera_maxima: float = 0.0
    atendidos: int = 0  # conversas que já acabaram
    duracao_total: float = 0.0
    desistencias: int = 0  # clientes que deixaram a fila sem ser atendidos
    recentes: deque[float] = field(default_factory=lambda: deque(maxlen=RECENTES))  # durações

    def resumo(self) -> str:
        """Uma frase, sem o nome do departamento nem o ponto final."""
        frase = f"{_quantos(self.esperas, 'atendimento')}, {_quantos(self.desistencias, 'desistência')} na fila"
        if self.esperas:
            media = _tempo(self.espera_total / self.esperas)
            frase += f"; espera média {media}, máxima {_tempo(self.espera_maxima)}"
        if self.atendidos:
            frase += f"; duração média {_tempo(self.duracao_total / self.atendidos)}"
        return frase


class Turno:
    """O movimento de cada departamento desde que o servidor subiu. Exige a trava de quem o guarda."""

    def __init__(self, departamentos: Iterable[str]) -> None:
        self._movimentos = {departamento: Movimento() for departamento in departamentos}

    def comecou(self, departamento: str, espera: float) -> None:
        """Um cliente que esperou `espera` segundos foi atendido."""
        movimento = self._movimentos[departamento]
        movimento.esperas += 1
        movimento.espera_total += espera
        movimento.espera_maxima = max(movimento.espera_maxima, espera)

    def acabou(self, departamento: str, duracao: float) -> None:
        """Acabou um atendimento que durou `duracao` segundos."""
        movimento = self._movimentos[departamento]
        movimento.atendidos += 1
        movimento.duracao_total += duracao
        movimento.recentes.append(duracao)

    def desistiu(self, departamento: str) -> None:
        """Um cliente deixou a fila antes de ser atendido."""
        self._movimentos[departamento].desistencias += 1

    def estimar(self, departamento: str, posicao: int, atendentes: int) -> str | None:
        """Quanto espera quem está em `posicao`, em minutos arredondados para cima; `None` se não há como saber."""
        recentes = self._movimentos[departamento].recentes
        if not recentes or not atendentes:
            return None
        segundos = sum(recentes) / len(recentes) * posicao / atendentes
        return "menos de 1 min" if segundos < 60 else f"{math.ceil(segundos / 60)} min"

    def resumo(self) -> list[str]:
        """Uma frase por departamento."""
        return [f"{_titulo(nome)}{movimento.resumo()}." for nome, movimento in self._movimentos.items()]


def _titulo(departamento: str) -> str:
    return f"{departamento}: " if departamento else ""


def _quantos(numero: int, nome: str) -> str:
    return f"{numero} {nome}" if numero == 1 else f"{numero} {nome}s"


def _tempo(segundos: float) -> str:
    """`45 s`, `3 min 20 s`, `1 h 05 min`."""
    inteiros = round(segundos)
    if inteiros < 60:
        return f"{inteiros} s"
    if inteiros < 3600:
        return f"{inteiros // 60} min {inteiros % 60:02} s"
    return f"{inteiros // 3600} h {inteiros % 3600 // 60:02} min"
