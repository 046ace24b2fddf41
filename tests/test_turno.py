"""O turno em números: cada parte do resumo e da espera estimada."""

import pytest
from test_protocolo import casos

from atendimento.turno import RECENTES, Turno


def resumo(esperas=(), duracoes=(), desistencias=0) -> str:
    """O resumo de um servidor sem departamentos, em que aconteceu isto."""
    turno = Turno([""])
    for espera in esperas:
        turno.comecou("", espera)
    for duracao in duracoes:
        turno.acabou("", duracao)
    for _ in range(desistencias):
        turno.desistiu("")
    (frase,) = turno.resumo()
    return frase


def test_resumo():
    """Os atendimentos que começaram, quanto se esperou por eles, quem desistiu, e quanto duraram os que acabaram."""
    assert resumo() == "0 atendimentos, 0 desistências na fila."
    assert resumo([5], (), 1) == "1 atendimento, 1 desistência na fila; espera média 5 s, máxima 5 s."
    assert resumo([10, 2], (), 2) == "2 atendimentos, 2 desistências na fila; espera média 6 s, máxima 10 s."
    comeco = "3 atendimentos, 0 desistências na fila; espera média"
    assert resumo([1, 9, 2], [40, 20]) == f"{comeco} 4 s, máxima 9 s; duração média 30 s."


def test_resumo_por_departamento():
    """Cada departamento tem a sua frase, na ordem deles e só com o que é seu."""
    turno = Turno(["Vendas", "Suporte"])
    turno.comecou("Suporte", 3)
    turno.desistiu("Vendas")
    assert turno.resumo() == [
        "Vendas: 0 atendimentos, 1 desistência na fila.",
        "Suporte: 1 atendimento, 0 desistências na fila; espera média 3 s, máxima 3 s.",
    ]


TEMPOS = {0.4: "0 s", 59.4: "59 s", 59.6: "1 min 00 s", 200: "3 min 20 s", 605: "10 min 05 s"}
TEMPOS |= {3599.4: "59 min 59 s", 3599.6: "1 h 00 min", 3900: "1 h 05 min", 90_060: "25 h 01 min"}


@pytest.mark.parametrize(("segundos", "escrito"), TEMPOS.items(), ids=TEMPOS.values())
def test_tempos(segundos, escrito):
    """Segundos, minutos e horas, arredondados para o segundo mais próximo."""
    assert resumo([segundos], [segundos]).endswith(f"média {escrito}, máxima {escrito}; duração média {escrito}.")


@casos(
    "duracoes, posicao, atendentes, espera",
    {
        "sem-atendimentos": ([], 1, 1, None),
        "sem-atendentes": ([60], 1, 0, None),
        "menos-de-um-minuto": ([59.9], 1, 1, "menos de 1 min"),
        "um-minuto": ([60], 1, 1, "1 min"),
        "para-cima": ([60.1], 1, 1, "2 min"),
        "a-media": ([60, 180], 1, 1, "2 min"),
        "vezes-a-posicao": ([60], 3, 1, "3 min"),
        "dividida-pelos-atendentes": ([60], 6, 2, "3 min"),
        "mais-de-uma-hora": ([3600], 2, 1, "120 min"),
        "so-os-mais-recentes": ([86_400] + [60] * 20, 1, 1, "1 min"),
        "dos-vinte-todos": ([60 * 21] + [60] * 19, 1, 1, "2 min"),
    },
)
def test_estimativa(duracoes, posicao, atendentes, espera):
    """A duração média dos últimos vinte, vezes a posição, dividida pelos atendentes, em minutos para cima."""
    assert RECENTES == 20
    turno = Turno(["Vendas", "Suporte"])
    turno.acabou("Suporte", 86_400)
    for duracao in duracoes:
        turno.acabou("Vendas", duracao)
    assert turno.estimar("Vendas", posicao, atendentes) == espera
