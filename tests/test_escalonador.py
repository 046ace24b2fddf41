"""O escalonador: cada fase quebra, ou não, como promete, e nada do que se digita o derruba."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RAIZ = Path(__file__).parent.parent
sys.path.insert(0, str(RAIZ / "docs"))

import escalonador  # noqa: E402
from escalonador import FASES, Jogo, tentar_todas  # noqa: E402


@pytest.mark.parametrize(
    ("fase", "passos", "defeito"),
    [
        (FASES[0], 6, "Ana|morreu"),
        (FASES[1], 8, "e não pelo CONECTADO"),
        (FASES[2], 4, "ninguém mais pode andar"),
    ],
    ids=["sem trava", "enviar depois de soltar", "esperar com a trava"],
)
def test_a_fase_que_quebra(fase, passos, defeito):
    """A busca acha uma ordem que quebra, e ela só quebra no último passo."""
    busca = tentar_todas(fase)
    assert len(busca.mais_curta) == passos
    assert re.search(defeito, Jogo(fase, busca.mais_curta).defeito())
    assert not any(Jogo(fase, busca.mais_curta[:n]).defeito() for n in range(passos))


def test_de_maos_dadas_nao_ha_ordem_que_quebre():
    """Nas mãos dadas nenhuma ordem quebra; com a vez tomada depois de soltar a trava, uma quebra."""
    certa = FASES[3]
    assert tentar_todas(certa).mais_curta is None

    def soltar_antes(sala):
        yield sala.trava
        sala.trava.acquire()
        sala.par["Yuri"] = sala.mudo
        sala.trava.release()
        yield sala.mudo.vez
        sala.mudo.vez.acquire()
        sala.mudo.contar("CONECTADO")
        sala.mudo.vez.release()

    errada = dataclasses.replace(certa, threads=[("quem forma o par", soltar_antes), *certa.threads[1:]])
    assert "e não pelo CONECTADO" in Jogo(errada, tentar_todas(errada).mais_curta).defeito()


def test_quantas_ordens():
    """As ordens de duas threads soltas, de três passos cada uma, são as vinte que se contam à mão."""

    def tres_passos(sala):
        for _ in range(3):
            yield

    livre = dataclasses.replace(FASES[0], threads=[("Yuri", tres_passos), ("Bia", tres_passos)])
    assert (tentar_todas(livre).ordens, tentar_todas(livre).situacoes) == (20, 16)


@pytest.mark.parametrize("fase", FASES, ids=lambda fase: fase.titulo)
def test_a_proxima_linha(fase):
    """Em toda situação a marca está na linha que o passo seguinte executa, e quem acabou não tem marca."""
    jogo = Jogo(fase)
    while podem := jogo.podem():
        for thread, trecho in enumerate(jogo.trechos):
            marcas = [linha for linha in escalonador.coluna(jogo, thread)[2:] if linha[0] in ">x"]
            assert len(marcas) == (trecho.gi_frame is not None)
        jogo.dar_um_passo(podem[-1])


def rodar(*opcoes, entrada=b""):
    programa = [sys.executable, str(RAIZ / "docs" / "escalonador.py"), *opcoes]
    saida = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    ambiente = os.environ | {"PYTHONIOENCODING": "utf-8"}  # no Windows, um pipe não é
    rodado = subprocess.run(programa, input=entrada, env=ambiente, timeout=60, **saida)
    texto = rodado.stdout.decode(errors="replace")
    assert "Traceback" not in texto, texto
    return rodado.returncode, texto


def test_uma_partida():
    """Um roteiro anda, desfaz, recomeça, busca e muda de fase; no fim, acha a ordem que quebra."""
    codigo, texto = rodar("--roteiro", "1,1,d,r,t,p,1,1,1,2,2,2,2,2,1")
    assert codigo == 0 and "Já quebrou" in texto
    assert texto.index("A mais curta") < texto.index("Fase 2 de 4") < texto.index("QUEBROU")


def test_o_que_se_digita_mal():
    """Letras soltas, bytes que não são texto, passos de mais e o fim da entrada não derrubam o programa."""
    codigo, texto = rodar(entrada=b"x9\n\xff\n3\nddd\n" + b"1" * 9 + b"\n")
    assert codigo == 0 and "'x'?" in texto and "Essa thread já acabou." in texto
    assert rodar("--fase", "5")[0] == 2
