"""O conferidor dos alunos: as suas regras contra o servidor, cada uma contra o seu defeito, e ele contra programas ruins."""

import contextlib
import csv
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from defeitos import DEFEITOS
from mutantes import RAIZ, Troca, copia_com
from participante import PRAZO
from test_experimentos import conferir as acabou_bem
from test_experimentos import rodar
from test_protocolo import casos

from conferidor.palco import Alvo, Palco, conferir, conferir_uma
from conferidor.programa import PROGRAMA, Cena
from conferidor.regras import SERVIDOR

CONFERIR = RAIZ / "docs" / "conferir.py"
DE_PROCESSO = "fim-servidor", "fim-servidor-codigo"  # interrompem o servidor
DEMORADAS = ("rede-mil-conexoes",)


def comando(programa: str = "servidor.py", raiz: Path = RAIZ) -> str:
    return f'"{sys.executable}" "{raiz / programa}" --porta {{porta}}'


def falhas(resultados) -> dict[str, str]:
    return {resultado.regra.id: str(resultado.falha) for resultado in resultados if resultado.falha}


# --- As regras contra o servidor ------------------------------------------------------------------


@pytest.mark.parametrize("nome", [nome for nome in SERVIDOR.regras if nome not in DE_PROCESSO + DEMORADAS])
def test_regra(servidor, nome):
    """O servidor, vigiado, cumpre a regra."""

    def montar(alvo: Alvo) -> Palco:
        no_ar = SimpleNamespace(codigo=lambda prazo=0.0: None, mata=lambda: None)
        return Palco(alvo, servidor.server_address[1], no_ar)

    resultado = conferir_uma(SERVIDOR.regras[nome], Alvo("", prazo=PRAZO), montar)
    assert resultado.falha is None, "\n".join([str(resultado.falha), *resultado.fita])


def test_cada_regra_aponta_o_que_existe():
    """De cada regra, a seção da página do protocolo e os arquivos da dica existem."""
    pagina = (RAIZ / "docs" / "protocolo.md").read_text(encoding="utf-8")
    titulos = re.findall(r"^##+ (.*)$", pagina, re.MULTILINE)
    ancoras = {re.sub(r"[^\w -]", "", titulo.lower()).replace(" ", "-") for titulo in titulos}
    for regra in [*SERVIDOR.regras.values(), *PROGRAMA.regras.values()]:
        assert regra.ancora in ancoras, regra.id
        lugares = re.findall(r"[\w/]+\.(?:py|md)", regra.dica)
        assert lugares and all((RAIZ / lugar).exists() for lugar in lugares), regra.dica


# --- Cada regra contra o seu defeito --------------------------------------------------------------


def passam_com_o_defeito(*nomes: str) -> list[str]:
    """Das regras, as que passam mesmo com o defeito que as devia fazer falhar."""

    def passa(nome: str) -> bool:
        with copia_com(Troca(*DEFEITOS[nome])) as copia:
            falha = conferir_uma(SERVIDOR.regras[nome], Alvo(comando(raiz=copia), prazo=1.5, subida=PRAZO)).falha
            return falha is None or "aceita conexões" in falha.esperado  # o que nem sobe não prova nada

    with ThreadPoolExecutor(4) as threads:
        return [nome for nome, passou in zip(nomes, threads.map(passa, nomes)) if passou]


def test_cada_regra_tem_um_defeito_que_se_pode_plantar():
    """A tabela tem as regras todas, e só elas; o trecho de cada defeito ainda existe."""
    assert list(DEFEITOS) == list(SERVIDOR.regras)
    for defeito in DEFEITOS.values():
        Troca(*defeito).plantado()


def test_uma_amostra_dos_defeitos():
    """Um defeito de cada nível é apontado pela sua regra."""
    assert not passam_com_o_defeito("nome-longo", "fila-anda", "conversa-pares", "fim-da-fila", "rede-rst", "json-fim")


@pytest.mark.demorado
def test_todos_os_defeitos():
    """Cada defeito é apontado pela sua regra."""
    assert not passam_com_o_defeito(*DEFEITOS)
