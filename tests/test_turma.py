"""A turma simulada de `docs/turma.py`, contra o servidor que ela sobe e contra outros."""

import _thread
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from participante import PRAZO, Participante
from test_protocolo import casos

RAIZ = Path(__file__).parent.parent
sys.path.insert(0, str(RAIZ / "docs"))

import turma  # noqa: E402
from protocolo import Json, Tipo  # noqa: E402

PROGRAMA = [sys.executable, str(RAIZ / "docs" / "turma.py")]
AMBIENTE = {nome: valor for nome, valor in os.environ.items() if nome != "FILA_SENHA"} | {"PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def rodar(monkeypatch, capsys):
    """Roda o programa neste processo, sem pausas de gente, contra um servidor dado: código, saída e erros."""
    monkeypatch.delenv("FILA_SENHA", raising=False)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # neste processo, os sinais são do pytest

    def rodar(endereco, *opcoes: object, jeito: str | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(turma, "JEITOS", (jeito,) if jeito else turma.JEITOS)  # o de todos, ou o de cada um
        argumentos = "--porta", endereco[1], "--ritmo", 10_000, "--semente", 7, *opcoes
        monkeypatch.setattr(sys, "argv", ["turma.py", *map(str, argumentos)])
        vigia = threading.Timer(PRAZO, _thread.interrupt_main)  # uma aula que não acaba é interrompida
        vigia.start()
        try:
            codigo = turma.main()
        finally:
            vigia.cancel()
            vigia.join()
        saida, erros = capsys.readouterr()
        assert "interrompida" not in saida or codigo == 1, saida
        return codigo, saida, erros

    return rodar


def numeros(resumo: str) -> tuple[int, ...]:
    """Atendimentos, desistências, a soma de quem atendeu quantos, mensagens ditas e ouvidas."""
    padrao = r"(\d+) atendimentos?, (\d+) desistências? na fila.*Atenderam: (.*?)\n.* (\d+) ditas, (\d+) ouvidas"
    atendimentos, desistencias, atenderam, ditas, ouvidas = re.search(padrao, resumo, re.DOTALL).groups()
    quantos = sum(map(int, re.findall(r" (\d+)", atenderam)))
    return int(atendimentos), int(desistencias), quantos, int(ditas), int(ouvidas)


def test_a_turma_sobe_o_seu_servidor_e_tudo_o_que_se_diz_e_ouvido():
    """Doze alunos e três atendentes, metade em JSON, com departamentos e senha: nada se perde, e o resumo fecha."""
    opcoes = "--ritmo 10000 --semente 7 --json --departamentos Vendas,Suporte --senha abre-te".split()
    aula = subprocess.run([*PROGRAMA, *opcoes], capture_output=True, env=AMBIENTE, encoding="utf-8", timeout=PRAZO)
    assert (aula.returncode, aula.stderr) == (0, "")
    historia, resumo = aula.stdout.split("Resumo da aula:")
    atendimentos, desistencias, atenderam, ditas, ouvidas = numeros(resumo)
    assert atendimentos + desistencias == 12 and atenderam == atendimentos
    assert ditas == ouvidas == len(re.findall(r"^ *\d+:\d\d  \[", historia, re.MULTILINE)) > 50
    assert "ouvidas: batem." in resumo
    assert not [frase for frase in turma.PARA_GENTE_DE_FORA if frase in historia]


A_TURMA_PARA = ["Enter congela; ", "❚❚ Turma congelada", "A turma continua.", "Resumo da aula, interrompida"]
ENTERS = {
    "turma": ("turma.py --porta {} --alunos 1 --intervalo 600", A_TURMA_PARA),
    "experimento": ("experimentos/01_recv_nao_e_mensagem.py", ["(Enter mostra o conserto.)", "CERTO"]),
}


@pytest.mark.skipif(os.name == "nt", reason="precisa de um pseudoterminal")
@casos("linha, respostas", ENTERS)
def test_num_terminal_espera_se_por_um_enter(servidor, linha, respostas):
    """A turma para no tempo e volta a andar, até o Ctrl+C; o experimento só então mostra o conserto."""
    from pseudoterminal import NoTerminal

    comando = f"docs/{linha}".format(servidor.endereco[1]).split()
    with NoTerminal(*comando, ambiente={"NO_COLOR": "1"}) as programa:
        for tecla, resposta in zip(["", "\r", "\r", "\x03"], respostas):
            assert resposta not in programa.tela
            os.write(programa.descritor, tecla.encode())
            programa.espera_na_tela(resposta)
        programa.espera_fim()


UM_CAFE = {"foi tomar um café.": 1}  # entre dois alunos, que só têm um atendente


@casos(
    "jeito, alunos, atendentes, frases",
    {
        "de todos os jeitos": (None, 6, 2, {}),
        "fecha a janela": ("fecha a janela", 2, 1, {"fechou a janela no meio": 2} | UM_CAFE),
        "encerra": ("encerra", 2, 1, {"encerrou a conversa.": 2} | UM_CAFE),
        "fala na fila": ("fala na fila", 2, 1, UM_CAFE),
        "desiste": ("desiste", 1, 0, {"desistiu de esperar.": 1, "Atenderam: ninguém.": 1, "0 ditas": 1}),
    },
)
def test_de_qualquer_jeito_que_um_aluno_saia_nada_se_perde(jeito, alunos, atendentes, frases, servidor, rodar):
    """As mensagens batem, os atendimentos e as desistências são os que o servidor contou, e metade fala JSON."""
    quantos = "--alunos", alunos, "--atendentes", atendentes, "--json"
    codigo, saida, erros = rodar(servidor.endereco, *quantos, jeito=jeito)
    assert (codigo, erros) == (0, "") and "ouvidas: batem." in saida
    (do_servidor,) = servidor.filas.turno.resumo()
    assert re.search(r"\d+ atendimentos?, \d+ desistências?", do_servidor)[0] in saida
    atendimentos, desistencias, *_ = numeros(saida)
    assert atendimentos + desistencias == alunos and (desistencias == 0 or jeito in (None, "desiste"))
    assert {frase: saida.count(frase) for frase in frases} == frases
    assert sum(isinstance(quem.formato, Json) for quem in servidor.aceitas) == alunos // 2 + (atendentes + 1) // 2


def test_uma_pessoa_pode_atender_a_turma(servidor, rodar):
    """Com `--atendentes 0` o aluno espera por quem vier, e conversa com ele até o fim."""
    pessoa = servidor.atendente("Prof. Lia", "FILA:OK")
    ouvidas: list[str] = []

    def atender() -> None:
        while not (linha := pessoa.linha()).startswith("FIM:"):
            if linha.startswith("["):
                ouvidas.append(linha.partition("]: ")[2])
                pessoa.envia("FIM:" if ouvidas[-1] in turma.DESPEDIDAS else "Sei.")

    atendimento = threading.Thread(target=atender, daemon=True)
    atendimento.start()
    codigo, saida, _ = rodar(servidor.endereco, "--alunos", 1, "--atendentes", 0, jeito="espera")
    atendimento.join(PRAZO)
    assert codigo == 0 and "Atenderam: Prof. Lia 1." in saida
    assert ouvidas[-1] in turma.DESPEDIDAS and len(ouvidas) > 2


def retrato(semente: int) -> list[tuple]:
    """Tudo o que se sabe de cada personagem antes de a aula começar, e o acaso que ele vai ter."""
    alunos, atendentes = turma.criar_turma(turma.Aula(("", 0), semente, 1, None, 5.0, 100), 500, metade_json=True)
    dos_alunos = [(a.nome, a.jeito, a.falas, a.chega_em, a.paciencia, a.velocidade, a.acaso.random()) for a in alunos]
    return dos_alunos + [(a.nome, a.toma_cafe, a.velocidade, a.acaso.random()) for a in atendentes]


def test_a_mesma_semente_da_as_mesmas_pessoas_com_as_mesmas_falas():
    """Duas turmas da mesma semente são iguais; de outra, não. Na maior delas, ninguém tem o nome de outro."""
    pessoas = retrato(7)
    assert pessoas == retrato(7) != retrato(8)
    assert len({nome for nome, *_ in pessoas}) == len(pessoas) == 600


def test_nenhuma_fala_se_repete_nos_roteiros():
    """O atendente sabe o que responder só pelo que lê."""
    falas = [fala for roteiro in turma.ROTEIROS for fala, _ in roteiro] + list(turma.DESPEDIDAS)
    assert len(set(falas)) == len(falas)


def test_um_servidor_que_repete_mensagens_e_apanhado(servidor, rodar, monkeypatch):
    """Cada mensagem dos atendentes chega duas vezes: código 1, e o resumo diz quais sobram."""
    repassar = servidor.filas.repassar_chat

    def repetir(quem, mensagem):
        if quem.tipo is Tipo.ATENDENTE:
            mensagem.textos = [*mensagem.textos, *mensagem.textos]
        return repassar(quem, mensagem)

    monkeypatch.setattr(servidor.filas, "repassar_chat", repetir)
    codigo, saida, _ = rodar(servidor.endereco, "--alunos", 1, "--atendentes", 1, jeito="fala na fila")
    assert codigo == 1 and "ouvidas: não batem." in saida
    assert re.search(r"^ +não foi dita: de .+ para .+: .+", saida, re.MULTILINE)


@casos(
    "ouvidas, par, frases",
    {
        "todas": ("ab", "Bia", []),
        "uma se perde": ("a", "Bia", ["não foi ouvida: de Ana para Bia: b"]),
        "uma se repete": ("abb", "Bia", ["não foi dita: de Ana para Bia: b"]),
        "trocadas": ("ba", "Bia", ["fora de ordem: de Ana para Bia: b / a"]),
        "com gente de fora": ("a", "Zé de fora", []),
    },
)
def test_as_contas_comparam_o_dito_com_o_ouvido(ouvidas, par, frases):
    """As diferenças são ditas uma a uma; as conversas com gente de fora não se conferem."""
    aula = turma.Aula(("", 0), 7, 1, None, 5.0, 1)
    ana = turma.Atendente(aula, "Ana", 0, False, toma_cafe=False)
    bia = turma.Aluno(aula, "Bia", 0, False, "espera")
    contas = turma.Contas([bia], [ana])
    ditas = [turma.Fato(ana, "disse", par, texto) for texto in "ab"]
    for fato in turma.Fato(ana, "atende", par), *ditas, *(turma.Fato(bia, "ouviu", "Ana", texto) for texto in ouvidas):
        contas.anotar(fato)
    assert contas.diferencas() == frases
    assert contas.atendidos["Ana"] == (par == "Zé de fora")


def test_sem_servidor_a_turma_diz_que_ele_nao_esta_la(rodar):
    """Código 1, uma frase, e nenhum resumo."""
    with socket.socket() as surdo:
        surdo.bind(("127.0.0.1", 0))  # sem `listen`: a porta está ocupada, e recusa
        codigo, saida, erros = rodar(surdo.getsockname())
    assert (codigo, erros) == (1, "Não foi possível conectar ao servidor. Verifique se ele está online.\n")
    assert "Resumo" not in saida


COM_SENHA = {"senha": "x"}


@casos(
    "do_servidor, opcoes, frase",
    {
        "lotado": ({"maximo": 1}, (), "Servidor lotado; tente mais tarde."),
        "sem senha": (COM_SENHA, (), "O servidor pede a senha dos atendentes: use --senha ou a variável FILA_SENHA."),
        "senha errada": (COM_SENHA, ("--senha", "y"), "Senha incorreta."),
    },
)
def test_o_que_o_servidor_recusa_acaba_com_a_aula(do_servidor, opcoes, frase, abrir_servidor, rodar):
    """Código 1, e o motivo como o servidor o deu."""
    codigo, _, erros = rodar(abrir_servidor(**do_servidor).endereco, *opcoes)
    assert (codigo, erros) == (1, f"{frase}\n")


@casos(
    "opcoes, frase",
    {
        "departamentos de outro": ("--departamentos Vendas", "--departamentos é só para o servidor que a turma sobe"),
        "sem ninguém": ("--alunos 0 --atendentes 0", "uma turma tem ao menos um aluno ou um atendente"),
        "ritmo zero": ("--ritmo 0", "--ritmo: use um inteiro de 1 a 10000, e não '0'"),
    },
)
def test_uso_errado_e_codigo_2(opcoes, frase, rodar, capsys):
    """A frase diz o que está errado, em português."""
    with pytest.raises(SystemExit, match="^2$"):
        rodar(("127.0.0.1", 1), *opcoes.split())
    assert frase in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="no Windows não se manda um Ctrl+C a um processo só")
def test_ctrl_c_no_meio_encerra_com_o_resumo_e_leva_o_servidor_junto(tmp_path):
    """No ritmo humano, com uma conversa começada: código 0, o que houve até ali, e nenhum processo fica."""
    comando = [*PROGRAMA, *"--alunos 2 --atendentes 1 --intervalo 0.001 --senha abre-te".split()]
    erros = tmp_path / "erros"  # um pipe só acabaria quando o servidor, que o herda, também acabasse
    saidas = {"stdout": subprocess.PIPE, "stderr": erros.open("wb"), "encoding": "utf-8"}
    with saidas["stderr"], subprocess.Popen(comando, env=AMBIENTE, **saidas) as aula:
        vigia = threading.Timer(PRAZO, aula.kill)
        vigia.start()
        porta = int(re.search(r"porta (\d+)", aula.stdout.readline())[1])
        while " atende " not in (linha := aula.stdout.readline()):
            assert linha, "a aula acabou antes de começar"
        intruso = Participante(("127.0.0.1", porta))
        intruso.envia("ATENDENTE")
        intruso.espera("SENHA:")  # o servidor da turma tem a senha dela
        intruso.fecha()
        aula.send_signal(signal.SIGINT)
        resto = aula.stdout.read()
    vigia.cancel()
    vigia.join()
    assert (aula.returncode, erros.read_text(encoding="utf-8")) == (0, "")
    assert "Resumo da aula, interrompida:" in resto and "1 atendimento, 0 desistências na fila" in resto
    with pytest.raises(ConnectionRefusedError):
        Participante(("127.0.0.1", porta))


def test_num_terminal_o_quadro_e_refeito_no_lugar(servidor):
    """No fim há uma linha por atendente, e não uma por fato; nenhuma passa da largura."""
    pytest.importorskip("pty", reason="sem pseudoterminais (Windows)")
    from pseudoterminal import NoTerminal

    opcoes = f"--porta {servidor.endereco[1]} --ritmo 10000 --semente 7 --alunos 5".split()
    with NoTerminal("docs/turma.py", *opcoes, colunas=60) as terminal:
        tela = terminal.espera_fim()
    titulo, quadro = tela.split("Ctrl+C encerra.")
    quadro, resumo = quadro.split("Resumo da aula:")
    linhas = [linha for linha in quadro.split("\n") if linha.strip()]
    assert "a caminho 0" in linhas[0] and linhas[1].split() == ["fila", "ninguém"]
    assert len(linhas) == 2 + 3 and max(map(len, linhas)) < 60
    for linha in linhas[2:]:
        assert re.match(r"  (\S+ \S+) +0:0\d  [●○‖]  ", linha)[1] in resumo.replace("\n", "")
